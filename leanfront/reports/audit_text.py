"""Audits as terminal text: the tables of their kinds."""

from __future__ import annotations

from collections.abc import Mapping

from leanfront.core.audit import KINDS
from leanfront.core.audit.document import Document
from leanfront.core.audit.table import Table
from leanfront.core.storage import AuditRecord


def audit_text(record: AuditRecord) -> str:
    """Return an audit as titles, tables and notes."""
    return "\n\n".join(each.text() for each in tables_of(record.kind, with_versions(record.document)))


def with_versions(document: Document) -> Document:
    """Convert a candidate's document to the form of a search's, with its one version's results under ``versions``."""
    return document if "versions" in document else {**document, "versions": [document]}


def tables_of(kind: str, document: Document) -> list[Table]:
    """Return the tables of an audit's document; for a kind without tables, the plain values of its versions."""
    tables = KINDS[kind].tables if kind in KINDS and is_whole(kind, document) else None
    return [_values(kind, document)] if tables is None else tables(document)


def is_whole(kind: str, document: Document) -> bool:
    """Whether a document contains what candidates' documents leave to the search's."""
    return kind not in KINDS or all(key in document for key in KINDS[kind].shared)


def _values(kind: str, document: Document) -> Table:
    def shown(value: object) -> str:
        return f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)

    def plain(entry: Document) -> dict[str, str]:
        return {key: shown(value) for key, value in entry.items() if not isinstance(value, Mapping | list)}

    versions = [plain(each) for each in document.get("versions", ())]
    if not versions:
        return Table(kind, ["value", "is"], [[key, value] for key, value in plain(document).items()])
    keys = [key for key in dict.fromkeys(key for each in versions for key in each) if key != "version"]
    rows = [[each.get("version", "-"), *(each.get(key, "-") for key in keys)] for each in versions]
    return Table(kind, ["version", *keys], rows)
