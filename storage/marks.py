"""Light queries for the state of a search, without its long settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select

from leanfront.core.objectives.objective import Objective
from leanfront.core.search.candidate import ENDED
from leanfront.core.storage.database import Database
from leanfront.core.storage.searches import find_search
from leanfront.core.storage.tables import AuditRow, CandidateRow, SearchRow, table

# Columns of the table: attributes of the mapped class would cost each query more than the database does.
_SEARCHES = table(SearchRow).c
_CANDIDATES = table(CandidateRow).c
_AUDITS = table(AuditRow).c
_COLUMNS = select(
    _SEARCHES.id,
    _SEARCHES.name,
    _SEARCHES.state,
    _SEARCHES.message,
    _SEARCHES.trials,
    _SEARCHES.frontier_size,
    _SEARCHES.frontier_version,
    _SEARCHES.hypervolume,
    _SEARCHES.hypervolume_log2,
    _SEARCHES.fingerprint,
    _SEARCHES.objectives,
)
# Built once: building a statement takes longer than running it.
_NAMED = _COLUMNS.where(_SEARCHES.name == bindparam("name"))
_SINCE = _COLUMNS.where(_SEARCHES.id >= bindparam("first")).order_by(_SEARCHES.id)
_LAST = select(func.max(_CANDIDATES.id)).where(_CANDIDATES.search_id == bindparam("search"))


@dataclass(frozen=True)
class Mark:
    """Progress of a search; see `leanfront.core.search.SearchRecord` for the fields."""

    id: int
    name: str
    state: str
    message: str | None
    trials: int
    frontier_size: int
    frontier_version: int
    hypervolume: float
    hypervolume_log2: float
    fingerprint: str
    objectives: tuple[Objective, ...]

    @property
    def ended(self) -> bool:
        """Whether the search has ended."""
        return self.state in ENDED

    @property
    def frontier(self) -> tuple[Any, ...]:
        """A value that changes whenever a stored fact about the frontier changes."""
        return self.id, self.frontier_version, self.hypervolume, self.hypervolume_log2, self.fingerprint

    def frontier_json(self) -> dict[str, Any]:
        """Return the data of a ``frontier`` event."""
        return {
            "version": self.frontier_version,
            "size": self.frontier_size,
            "hypervolume": self.hypervolume,
            "hypervolume_log2": self.hypervolume_log2,
        }

    def state_json(self) -> dict[str, Any]:
        """Return the data of a ``state`` event."""
        return {"state": self.state, "message": self.message, "trials": self.trials}


@dataclass(frozen=True)
class About:
    """Facts about a search that never change; see `leanfront.core.search.SearchRecord`."""

    target: str
    registered: str | None
    created: datetime


class Marks:
    """Cheap queries about searches, for caches and for following searches.

    Args:
        database: an open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, name: str) -> Mark:
        """Return the mark of a search. Raises `NotFoundError` that lists the searches."""
        # A session would take longer than the query.
        with self._database.single() as connection:
            row = connection.execute(_NAMED, {"name": name}).one_or_none()
        if row is None:
            with self._database.reading() as session:
                row = session.execute(_COLUMNS.where(_SEARCHES.id == find_search(session, name).id)).one()
        return _mark(row)

    def newest(self, limit: int) -> list[Mark]:
        """Return the marks of the newest searches, newest first."""
        with self._database.single() as connection:
            rows = connection.execute(_COLUMNS.order_by(_SEARCHES.id.desc()).limit(limit))
            return [_mark(row) for row in rows]

    def since(self, first: int) -> list[Mark]:
        """Return the marks of the search with id `first` and of all later ones, oldest first."""
        with self._database.single() as connection:
            return [_mark(row) for row in connection.execute(_SINCE, {"first": first})]

    def about(self, ids: Sequence[int]) -> dict[int, About]:
        """Return the unchanging facts about searches, by id; unknown ids are left out."""
        if not ids:
            return {}
        registered = _SEARCHES.settings["registered"].as_string()
        wanted = select(_SEARCHES.id, _SEARCHES.target, registered, _SEARCHES.created)
        with self._database.single() as connection:
            rows = connection.execute(wanted.where(_SEARCHES.id.in_(ids)))
            return {identifier: About(*rest) for identifier, *rest in rows}

    def last_candidate(self, search: int) -> int:
        """Return the largest candidate id of a search; 0 if it has no candidates."""
        with self._database.single() as connection:
            return connection.execute(_LAST, {"search": search}).scalar() or 0

    def audits(self, search: int, kind: str, candidate: int | None = None) -> tuple[int, ...]:
        """Return the ids of a search's audits of one kind; an audit gets a new id each time it is repeated.

        Args:
            search: id of the search.
            kind: kind of audit.
            candidate: id of the audited candidate; by default audits of the search and of all its candidates.
        """
        wanted = select(_AUDITS.id).where(_AUDITS.search_id == search, _AUDITS.kind == kind)
        if candidate is not None:
            wanted = wanted.where(_AUDITS.candidate_id == candidate)
        with self._database.single() as connection:
            return tuple(connection.execute(wanted.order_by(_AUDITS.id)).scalars())

    def names_like(self, stem: str) -> set[str]:
        """Return the names of searches that begin with `stem`."""
        wanted = select(_SEARCHES.name).where(_SEARCHES.name.startswith(stem, autoescape=True))
        with self._database.single() as connection:
            return set(connection.execute(wanted).scalars())


def _mark(row: Any) -> Mark:
    fields = row._mapping
    return Mark(**{**fields, "objectives": tuple(Objective(**each) for each in fields["objectives"])})
