"""Lists in pages: how long a page is, where the one before ended, and the header that names the next one."""

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
"""Members of a list on one page unless asked otherwise."""
LONGEST_PAGE = 1_000

Limit = Annotated[int, Query(description="Members of the page at most.", ge=1, le=LONGEST_PAGE)]
Cursor = Annotated[
    str | None, Query(description="Where the page before ended: from its `Link` header.", max_length=500)
]


def write_cursor(place: Sequence[float], *about: object) -> str:
    """A page's end as text for an address.

    Args:
        place: where the page ends.
        about: all that the page depends on: the cursor fits nothing else.
    """
    packed = struct.pack(f">{len(place)}d", *place)
    return base64.urlsafe_b64encode(_seal(packed, about) + packed).decode().rstrip("=")


def read_cursor(text: str | None, *about: object) -> tuple[float, ...] | None:
    """What `write_cursor` wrote; None for the first page.

    Raises:
        Problem: 422: it was made up, changed, or belongs to another list.
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
    """The header that names the next page."""
    return f'<{path}?{query}{"&" if query else ""}cursor={cursor}>; rel="next"'
