"""Tables of figures, as text and as what other formats are made of, and how their cells are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leanfront.core.audit.document import Document


@dataclass(frozen=True)
class Table:
    """A table of cells ready to be read.

    Args:
        title: what it is about.
        header: of the columns; the first column names the rows.
        rows: as many cells each.
        note: what to keep in mind, or ``""``.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def text(self) -> str:
        """Title, table and note for a terminal."""
        parts = [self.title, table(self.header, self.rows), self.note]
        return "\n".join(part for part in parts if part)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns, the first one left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return "  ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *(line(row) for row in rows)])


def fixed(value: float | None, digits: int = 4) -> str:
    """A number with so many digits behind the point; ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def significant(value: float | None) -> str:
    """A number with four digits that count; ``-`` where there is none."""
    return "-" if value is None else f"{value:.4g}"


def multiple(value: float) -> str:
    """How many times something, a large number with fewer digits."""
    return fixed(value, 3 if value < 10 else 1)


def kilobits(bits: float) -> str:
    """Bits in thousands."""
    return fixed(bits / 1000, 1)


def samples_title(title: str, document: Document) -> str:
    """A title with the samples that an audit saw, and the population that it compared."""
    said = f"{title}: {document['samples']} {document['split']} samples"
    population = document.get("population")
    return said if population is None else f"{said}, {population['text']}"
