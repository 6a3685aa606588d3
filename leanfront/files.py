"""Files that users name: written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from leanfront.errors import StorageError, UsageError


def require_html(path: str | Path, what: str) -> Path:
    """The path of an HTML file that may be written there.

    Args:
        path: as typed.
        what: it is, for the message: ``plot``.

    Raises:
        UsageError: it is not an .html file in an existing folder.
    """
    place = Path(path)
    if place.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"the {what} is an HTML file: name it '{place.with_suffix('.html')}', not '{place}'")
    if not place.parent.is_dir():
        raise UsageError(f"no folder '{place.parent}' to write the {what} into")
    return place


@contextmanager
def whole(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write into, which is at its place once the context ends, and nowhere if it raises.

    Raises:
        StorageError: it cannot be written.
    """
    place = Path(path)
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, place)
    except OSError as error:
        raise StorageError(f"cannot write '{place}': {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
