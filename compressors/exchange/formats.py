"""The registry of formats that a candidate's file is written in."""

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
"""The format that is verified, and that searches keep of the candidates on their frontier."""


def _no_notes(path: Path) -> list[str]:
    return []


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        name: what a user types, and the file's suffix without its dot.
        write: (compressed, structure, target) -> the file; raises `CompressionError`.
        notes: path of a file -> what it says of itself that its user should know.
    """

    name: str
    write: Callable[[Compressed, Structure, Target], bytes]
    notes: Callable[[Path], list[str]] = _no_notes

    @property
    def suffix(self) -> str:
        """Of its files, with the dot."""
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
"""Formats by name. A new one is an entry here, and a function."""


def suffixes() -> str:
    """The formats' suffixes, as a sentence has them."""
    *others, last = (each.suffix for each in FORMATS.values())
    return f"{', '.join(others)} or {last}"


def format_of(path: Path) -> Format:
    """The format of a file of that name. Raises `UsageError`, naming the formats."""
    found = FORMATS.get(path.suffix.lower().removeprefix("."))
    if found is None:
        raise UsageError(f"cannot write '{path.name}': name a file that ends in {suffixes()}")
    return found
