"""Reading and writing the rows of candidates, many at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, insert, select
from sqlalchemy.orm import Session

from leanfront.core.search.candidate import Candidate
from leanfront.core.storage.frontier import CHUNK, chunks
from leanfront.core.storage.records import candidate_record, candidate_values, measurement_values
from leanfront.core.storage.tables import (
    CandidateRow,
    FrontierRow,
    MeasurementRow,
    SearchRow,
    VerificationRow,
    table,
)
from leanfront.errors import NotFoundError, UsageError

_CANDIDATES = table(CandidateRow)
_MEASUREMENTS = table(MeasurementRow)


def wanted() -> Select[Any]:
    """Return the query for candidates with their search's name and frontier membership, unordered."""
    return (
        select(
            _CANDIDATES,
            SearchRow.name.label("search"),
            FrontierRow.strict_after,
            VerificationRow.ok.label("verified"),
        )
        .select_from(CandidateRow)
        .join(SearchRow, SearchRow.id == CandidateRow.search_id)
        .outerjoin(FrontierRow, FrontierRow.candidate_id == CandidateRow.id)
        .outerjoin(VerificationRow, VerificationRow.candidate_id == CandidateRow.id)
    )


def records(session: Session, rows: Iterable[Row[Any]]) -> list[Candidate]:
    """Return the candidates of rows of the `wanted` query, in their order."""
    found = list(rows)
    measured: dict[int, list[Row[Any]]] = {row.id: [] for row in found}
    for ids in chunks(measured):
        query = (
            select(_MEASUREMENTS)
            .where(_MEASUREMENTS.c.candidate_id.in_(ids))
            .order_by(_MEASUREMENTS.c.candidate_id, _MEASUREMENTS.c.id)
        )
        for row in session.execute(query):
            measured[row.candidate_id].append(row)
    return [candidate_record(row, measured[row.id]) for row in found]


def load(session: Session, identifiers: Iterable[int]) -> dict[int, Candidate]:
    """Return candidates by id; unknown ids are left out."""
    found: dict[int, Candidate] = {}
    for ids in chunks(identifiers):
        for candidate in records(session, session.execute(wanted().where(CandidateRow.id.in_(ids)))):
            assert candidate.id is not None
            found[candidate.id] = candidate
    return found


def get(session: Session, identifier: int) -> Candidate:
    """Return the candidate with that id. Raises `NotFoundError`."""
    found = load(session, [identifier])
    if identifier not in found:
        raise missing(identifier)
    return found[identifier]


def missing(identifier: int) -> NotFoundError:
    """Return the error for an unknown candidate."""
    return NotFoundError(f"no candidate {identifier}: see `leanfront frontier NAME` for those of a search")


def known(session: Session, search: int, digests: Iterable[str]) -> dict[str, int]:
    """Map configuration digests to the ids of the candidates that have them."""
    found: dict[str, int] = {}
    waiting = list(digests)
    for start in range(0, len(waiting), CHUNK):
        rows = session.execute(
            select(CandidateRow.configuration_digest, CandidateRow.id).where(
                CandidateRow.search_id == search,
                CandidateRow.configuration_digest.in_(waiting[start : start + CHUNK]),
            )
        )
        found.update((digest, identifier) for digest, identifier in rows)
    return found


def add(
    session: Session, search: int, fresh: Sequence[tuple[Candidate, Sequence[float] | None]]
) -> Mapping[str, int]:
    """Store new candidates, none of which is stored yet.

    Args:
        fresh: each candidate with its objective values in natural units, or with None if it has none.

    Returns:
        Configuration digest -> id.

    Raises:
        NotFoundError: a parent does not exist.
        UsageError: a parent belongs to another search.
    """
    for parent in {candidate.parent for candidate, _ in fresh if candidate.parent is not None}:
        owner = session.scalar(select(CandidateRow.search_id).where(CandidateRow.id == parent))
        if owner is None:
            raise missing(parent)
        if owner != search:
            # If the parent were deleted with its search, this candidate would look as if it had not been recovered.
            raise UsageError(f"candidate {parent} is of another search: recover one of the same")
    rows = [candidate_values(candidate, search, values) for candidate, values in fresh]
    ids = session.scalars(
        insert(_CANDIDATES).returning(_CANDIDATES.c.id, sort_by_parameter_order=True), rows
    ).all()
    measurements = [
        measurement_values(each, search, identifier)
        for identifier, (candidate, _) in zip(ids, fresh, strict=True)
        for each in candidate.measurements
    ]
    if measurements:
        session.execute(insert(_MEASUREMENTS), measurements)
    return {row["configuration_digest"]: identifier for identifier, row in zip(ids, rows, strict=True)}
