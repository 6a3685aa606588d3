"""Tables of figures, as text and as what other formats are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leanfront.reports.text import table


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
