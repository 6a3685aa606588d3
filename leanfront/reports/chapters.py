"""Audits of one kind ready to be shown: explanation, tables, figures and galleries as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from leanfront.core.audit import KINDS
from leanfront.core.audit.document import Document
from leanfront.core.audit.pieces import Piece
from leanfront.core.audit.table import Table
from leanfront.core.storage import AuditRecord
from leanfront.reports.audit_text import is_whole, tables_of, with_versions


@dataclass(frozen=True)
class Section:
    """One document of a chapter.

    Args:
        heading: heading; ``""`` for the search's own document.
        tables: tables, as a terminal shows them.
        pieces: figures and galleries.
    """

    heading: str
    tables: Sequence[Table]
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Chapter:
    """Audits of one kind.

    Args:
        kind: kind of audit.
        title: title of the kind.
        reading: how to read it, in a sentence or two; ``""`` for an unknown kind.
        source: literature source of the kind; ``""`` for an unknown kind.
        sections: the search's section first, then those of candidates that it does not include.
    """

    kind: str
    title: str
    reading: str
    source: str
    sections: Sequence[Section]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of the API's answer, without the fields of the record."""
        return {
            "kind": self.kind,
            "title": self.title,
            "reading": self.reading,
            "source": self.source,
            "parts": [
                {
                    "heading": each.heading,
                    "tables": [asdict(table) for table in each.tables],
                    "pieces": [piece.to_json() for piece in each.pieces],
                }
                for each in self.sections
            ],
        }


def chapter_of(kind: str, records: Sequence[AuditRecord]) -> Chapter:
    """Build the chapter of records of one search and kind, at most one of them of the whole search."""
    sections = [
        Section(heading, tables_of(kind, document), pieces_of(kind, document))
        for heading, document in documents_of(records)
    ]
    return Chapter(
        kind, title_of(kind), reading_of(kind), KINDS[kind].source if kind in KINDS else "", sections
    )


def pieces_of(kind: str, document: Document) -> list[Piece]:
    """Return the figures and galleries of an audit's document; none for an unknown kind or an incomplete document."""
    figures = KINDS[kind].figures if kind in KINDS and is_whole(kind, document) else None
    return [] if figures is None else figures(document)


def title_of(kind: str) -> str:
    """Return the title of a kind of audit."""
    return KINDS[kind].title if kind in KINDS else kind


def reading_of(kind: str) -> str:
    """Return how to read a kind of audit, in a sentence or two; ``""`` for an unknown kind."""
    return KINDS[kind].reading if kind in KINDS else ""


def kinds_in_order() -> list[str]:
    """Return all kinds of audit in the best order to read them."""
    return list(KINDS)


def documents_of(records: Sequence[AuditRecord]) -> list[tuple[str, Document]]:
    """Return (heading, document with ``versions``) pairs of records of one kind, the search's first.

    Args:
        records: records of one search and kind, at most one of them of the whole search.
    """
    own = {each.candidate: each for each in records if each.candidate is not None}
    found: list[tuple[str, Document]] = []
    for record in (each for each in records if each.candidate is None):
        versions = [_filled(version, own, record.kind) for version in record.document.get("versions", ())]
        shown = {version.get("candidate") for version in versions}
        own = {candidate: each for candidate, each in own.items() if candidate not in shown}
        found.append(("", {**record.document, "versions": versions}))
    return found + [
        (f"Candidate {candidate}", with_versions(each.document)) for candidate, each in own.items()
    ]


def _filled(version: Document, own: Mapping[int, AuditRecord], kind: str) -> Document:
    """Add to a version's results what the search's document omits."""
    record = own.get(version.get("candidate", 0))
    if record is None or kind not in KINDS:
        return version
    left = {key: record.document[key] for key in KINDS[kind].heavy if key in record.document}
    return {**left, **version}
