"""Files named by users, written as a whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from leanfront.errors import StorageError, UsageError


def require_html(path: str | Path, what: str) -> Path:
    """Return the path of an HTML file to write.

    Args:
        path: path as the user gave it.
        what: what the file contains, for the message, such as ``plot``.

    Raises:
        UsageError: the path is no .html file in an existing folder.
    """
    place = Path(path)
    if place.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"the {what} is an HTML file: name it '{place.with_suffix('.html')}', not '{place}'")
    if not place.parent.is_dir():
        raise UsageError(f"no folder '{place.parent}' to write the {what} into")
    return place


@contextmanager
def whole(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears at its path when the context ends, and not at all if it raises.

    Raises:
        StorageError: the file cannot be written.
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
