"""Registry of the file formats of a candidate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leanfront.deferred import Deferred
from leanfront.errors import UsageError

if TYPE_CHECKING:
    from leanfront.core.compressors.compressor import Compressed
    from leanfront.core.compressors.structure.structure import Structure
    from leanfront.core.targets import Target

PACKED = "safetensors"
"""Format that is verified, and in which searches keep the candidates on their frontier."""


def _no_notes(path: Path) -> list[str]:
    return []


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        name: name that a user types, and the file's suffix without its dot.
        write: (compressed, structure, target) -> content of the file; raises `CompressionError`.
        notes: path of a file -> notes for its user, read from the file.
    """

    name: str
    write: Callable[[Compressed, Structure, Target], bytes]
    notes: Callable[[Path], list[str]] = _no_notes

    @property
    def suffix(self) -> str:
        """Suffix of its files, with the dot."""
        return f".{self.name}"


def _writer(function: str) -> Deferred:
    return Deferred(f"leanfront.core.compressors.exchange.writers:{function}")


FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format(PACKED, _writer("packed")),
        Format("onnx", _writer("onnx_file"), _writer("onnx_notes")),
        Format("pt2", _writer("program")),
    )
}
"""Formats by name. To add one, write a function and an entry here."""


def suffixes() -> str:
    """Return the suffixes of all formats, as part of a sentence."""
    *others, last = (each.suffix for each in FORMATS.values())
    return f"{', '.join(others)} or {last}"


def format_of(path: Path) -> Format:
    """Return the format of a file by its suffix. Raises `UsageError` if it is unknown."""
    found = FORMATS.get(path.suffix.lower().removeprefix("."))
    if found is None:
        raise UsageError(f"cannot write '{path.name}': name a file that ends in {suffixes()}")
    return found
