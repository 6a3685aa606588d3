"""Pagination of lists: page size, cursors and the link to the next page."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from leanfront.http.problems import Problem

PAGE = 100
"""Default number of members on a page."""
LONGEST_PAGE = 1_000

Limit = Annotated[int, Query(description="Largest number of members on the page.", ge=1, le=LONGEST_PAGE)]
Cursor = Annotated[
    str | None, Query(description="End of the previous page, from its `Link` header.", max_length=500)
]


def write_cursor(place: Sequence[float], *about: object) -> str:
    """Encode the end of a page as text for an address.

    Args:
        place: position where the page ends.
        about: everything the page depends on; the cursor is valid for nothing else.
    """
    packed = struct.pack(f">{len(place)}d", *place)
    return base64.urlsafe_b64encode(_seal(packed, about) + packed).decode().rstrip("=")


def read_cursor(text: str | None, *about: object) -> tuple[float, ...] | None:
    """Decode the text of `write_cursor`; None for the first page.

    Raises:
        Problem: 422: the cursor is invalid or belongs to another list.
    """
    if text is None:
        return None
    refused = Problem(
        "invalid",
        "the cursor does not belong to this list: start from its first page",
        [{"parameter": "cursor", "detail": "not one of this list"}],
    )
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise refused from None
    seal, packed = raw[:8], raw[8:]
    if not packed or len(packed) % 8 or seal != _seal(packed, about):
        raise refused
    return struct.unpack(f">{len(packed) // 8}d", packed)


def _seal(packed: bytes, about: Sequence[object]) -> bytes:
    return hashlib.blake2b(packed + repr(about).encode(), digest_size=8, person=b"leanfront").digest()


def next_link(path: str, query: str, cursor: str) -> str:
    """Return the header that links to the next page."""
    return f'<{path}?{query}{"&" if query else ""}cursor={cursor}>; rel="next"'
