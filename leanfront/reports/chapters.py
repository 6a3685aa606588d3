"""What audits of one kind found, ready to be shown: how to read it, tables, figures and galleries, as data."""

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
        heading: ``""`` of the search's own.
        tables: those that a terminal shows.
        pieces: figures and galleries.
    """

    heading: str
    tables: Sequence[Table]
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Chapter:
    """What audits of one kind found.

    Args:
        kind: of the audits.
        title: of the kind, for people.
        reading: how to read it, a sentence or two; ``""`` of an unknown one.
        source: where the kind comes from; ``""`` of an unknown one.
        sections: the search's first, then those of candidates that are not in it.
    """

    kind: str
    title: str
    reading: str
    source: str
    sections: Sequence[Section]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: what the API answers, without what is said of the record."""
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
    """What records of one search and kind found, at most one of them of the search as a whole."""
    sections = [
        Section(heading, tables_of(kind, document), pieces_of(kind, document))
        for heading, document in documents_of(records)
    ]
    return Chapter(
        kind, title_of(kind), reading_of(kind), KINDS[kind].source if kind in KINDS else "", sections
    )


def pieces_of(kind: str, document: Document) -> list[Piece]:
    """The figures and galleries of an audit's document; none of an unknown kind, or of what is left to the search."""
    figures = KINDS[kind].figures if kind in KINDS and is_whole(kind, document) else None
    return [] if figures is None else figures(document)


def title_of(kind: str) -> str:
    """A kind of audit for people."""
    return KINDS[kind].title if kind in KINDS else kind


def reading_of(kind: str) -> str:
    """How to read a kind of audit, a sentence or two; ``""`` of an unknown one."""
    return KINDS[kind].reading if kind in KINDS else ""


def kinds_in_order() -> list[str]:
    """All kinds of audits in the order that they are best read in."""
    return list(KINDS)


def documents_of(records: Sequence[AuditRecord]) -> list[tuple[str, Document]]:
    """(heading, document with ``versions``) of records of one kind: the search's first.

    Args:
        records: of one search and kind, at most one of the search as a whole.
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
    """A version's findings with what the search's document leaves out of them."""
    record = own.get(version.get("candidate", 0))
    if record is None or kind not in KINDS:
        return version
    left = {key: record.document[key] for key in KINDS[kind].heavy if key in record.document}
    return {**left, **version}
