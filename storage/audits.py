"""Rows of stored audits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session, defer

from leanfront.core.storage import candidates
from leanfront.core.storage.tables import AuditRow, CandidateRow


@dataclass(frozen=True)
class AuditRecord:
    """Result of the latest audit of one kind.

    Args:
        search: name of the search.
        kind: kind of audit (``classes``, ``exemplars``, ...).
        document: result of the audit, JSON.
        candidate: id of the audited candidate; None for an audit of the whole search.
        parameters: parameters the audit was made with, JSON.
        release: release of leanfront that made the audit.
        created: ISO 8601 time in UTC, set by the store.
    """

    search: str
    kind: str
    document: Mapping[str, Any]
    candidate: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    release: str = ""
    created: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the AUDIT object of the command line and the API."""
        return {
            "search": self.search,
            "candidate": self.candidate,
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "release": self.release,
            "created": self.created,
            "document": dict(self.document),
        }


def find(
    session: Session, search: int, candidate: int | None, kind: str | None = None, *, documents: bool = True
) -> Sequence[AuditRow]:
    """Return the audit rows of a candidate, or of the whole search, ordered by kind."""
    wanted = select(AuditRow).where(AuditRow.search_id == search, AuditRow.candidate_id.is_(None))
    if candidate is not None:
        wanted = select(AuditRow).where(AuditRow.search_id == search, AuditRow.candidate_id == candidate)
    if kind is not None:
        wanted = wanted.where(AuditRow.kind == kind)
    if not documents:
        wanted = wanted.options(defer(AuditRow.document, raiseload=True))
    return session.scalars(wanted.order_by(AuditRow.kind)).all()


def audit_record(row: AuditRow, search: str, *, documents: bool = True) -> AuditRecord:
    """Return the record of an audit row; its document is empty if `documents` is false."""
    return AuditRecord(
        search=search,
        kind=row.kind,
        document=row.document if documents else {},
        candidate=row.candidate_id,
        parameters=row.parameters,
        release=row.release,
        created=row.created.isoformat(),
    )


def replace(session: Session, search: int, record: AuditRecord) -> None:
    """Store an audit, replacing the previous one of its kind. The search must be locked.

    Raises:
        NotFoundError: the search has no such candidate.
    """
    same: ColumnElement[bool] = AuditRow.candidate_id.is_(None)
    if record.candidate is not None:
        same = AuditRow.candidate_id == record.candidate
        of = session.scalar(select(CandidateRow.search_id).where(CandidateRow.id == record.candidate))
        if of != search:
            raise candidates.missing(record.candidate)
    session.execute(delete(AuditRow).where(AuditRow.search_id == search, AuditRow.kind == record.kind, same))
    session.add(
        AuditRow(
            search_id=search,
            candidate_id=record.candidate,
            kind=record.kind,
            parameters=dict(record.parameters),
            document=dict(record.document),
            release=record.release,
        )
    )
