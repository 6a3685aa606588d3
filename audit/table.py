"""Tables of numbers, as text or as the basis of other formats, and the formats of their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leanfront.core.audit.document import Document


@dataclass(frozen=True)
class Table:
    """A table of formatted cells.

    Args:
        title: title of the table.
        header: titles of the columns; the first column names the rows.
        rows: one cell per column.
        note: remark below the table, or ``""``.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def text(self) -> str:
        """Format the title, the table and the note for a terminal."""
        parts = [self.title, table(self.header, self.rows), self.note]
        return "\n".join(part for part in parts if part)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format columns, the first one left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return "  ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *(line(row) for row in rows)])


def fixed(value: float | None, digits: int = 4) -> str:
    """Format a number with a fixed number of decimals; ``-`` for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def significant(value: float | None) -> str:
    """Format a number with four significant digits; ``-`` for None."""
    return "-" if value is None else f"{value:.4g}"


def multiple(value: float) -> str:
    """Format a multiple, with fewer decimals from 10 on."""
    return fixed(value, 3 if value < 10 else 1)


def kilobits(bits: float) -> str:
    """Format bits in thousands."""
    return fixed(bits / 1000, 1)


def samples_title(title: str, document: Document) -> str:
    """Return a title with the number of samples of an audit, and its population if it has one."""
    said = f"{title}: {document['samples']} {document['split']} samples"
    population = document.get("population")
    return said if population is None else f"{said}, {population['text']}"
