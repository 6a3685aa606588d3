"""Cache of what was read about the most recently used searches.

A search's row has a `frontier_version` that grows with every change of the frontier's members, of their
measurements, and of the search's target. A query reads that number; while it is unchanged, the cache is valid,
whichever process writes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from leanfront.core.objectives.objective import Objective
from leanfront.core.search.candidate import Candidate
from leanfront.core.storage import candidates
from leanfront.core.storage.frontier import BothChanges, Front, Fronts, load
from leanfront.core.storage.records import objectives_of
from leanfront.core.storage.searches import find_search
from leanfront.core.storage.tables import SearchRow, table

SEARCHES = 64
"""Largest number of searches in the cache."""
MEMBERS = 5_000
"""Largest number of candidates in the cache, over all searches; each takes about 10 KB."""

_SEARCHES = table(SearchRow)


@dataclass(frozen=True)
class Version:
    """A version of a frontier just read from the database, for which the cache may answer.

    Args:
        search: id of the search.
        frontier: its `frontier_version`.
    """

    search: int
    frontier: int


@dataclass(frozen=True)
class Known:
    """Facts about a search that queries need besides its frontier.

    Args:
        id: id of the search.
        version: version of its frontier.
        measured: version of the measurements on its stored candidates.
        objectives: its objectives, in order.
        cheapest: lowest costs that its space can reach, from its settings; None if unknown.
        dense: names of the measurements of the dense model.
    """

    id: int
    version: int
    measured: int
    objectives: tuple[Objective, ...]
    cheapest: Mapping[str, Any] | None
    dense: frozenset[str]

    @classmethod
    def of(cls, row: SearchRow) -> Known:
        """Build the facts from a search's row."""
        dense = frozenset(str(each["name"]) for each in row.dense)
        return cls(
            row.id,
            row.frontier_version,
            row.measured_version,
            objectives_of(row),
            row.settings.get("cheapest"),
            dense,
        )


@dataclass
class _Entry:
    known: Known
    fronts: Fronts
    members: dict[int, Candidate] = field(default_factory=dict)


class Memory:
    """Cache of the frontiers of the most recently used searches; safe for several threads."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, session: Session, name: str, version: Version | None = None) -> Known:
        """Return a search by name, or from the cache if `version` is still there.

        Raises `NotFoundError` that lists the searches.
        """
        remembered = None if version is None else self.at(version.search, version.frontier)
        if remembered is not None:
            return remembered
        columns = (_SEARCHES.c.id, _SEARCHES.c.frontier_version)
        found = session.execute(select(*columns).where(_SEARCHES.c.name == name)).one_or_none()
        entry = None if found is None else self._entry(*found)
        return Known.of(find_search(session, name)) if entry is None else entry.known

    def at(self, search: int, version: int) -> Known | None:
        """Return a search by id and frontier version if it is in the cache, otherwise None."""
        entry = self._entry(search, version)
        return None if entry is None else entry.known

    def of(self, row: SearchRow) -> Known:
        """Return the facts about a search given its row, of which only the counters need be loaded."""
        entry = self._entry(row.id, row.frontier_version)
        return Known.of(row) if entry is None else entry.known

    def front(self, session: Session, known: Known, stage: str) -> Front:
        """Return the front of a stage, from the cache or the database. Raises `UsageError` for an unknown stage."""
        return self.fronts(session, known).of(stage)

    def fronts(self, session: Session, known: Known) -> Fronts:
        """Return the fronts of a version, from the cache or the database."""
        entry = self._entry(known.id, known.version)
        if entry is None:
            entry = _Entry(known, load(session, known.id, len(known.objectives), known.version))
            self._put(entry)
        return entry.fronts

    def members(self, session: Session, known: Known, ids: Iterable[int]) -> dict[int, Candidate]:
        """Return members of the weak fronts by id.

        The candidates are shared with the cache: do not change the mappings in them.
        """
        wanted = list(ids)
        entry = self._entry(known.id, known.version)
        with self._lock:
            have = (
                {}
                if entry is None
                else {each: entry.members[each] for each in wanted if each in entry.members}
            )
        read = candidates.load(session, (each for each in wanted if each not in have))
        if entry is not None:
            # If a writer has replaced the entry meanwhile, this update is never read.
            with self._lock:
                entry.members.update(read)
                self._shrink()
        return {**have, **read}

    def changed(self, known: Known, fronts: Fronts, changes: BothChanges) -> None:
        """Record a committed change of a frontier.

        Args:
            known: the search before the change.
            fronts: its fronts after the change.
            changes: the changes of the fronts.
        """
        entry = self._entry(known.id, known.version)
        gone = {each for some in (changes.before, changes.after) for each in some.removed | some.demoted}
        with self._lock:
            old = {} if entry is None else entry.members
            kept = {key: each for key, each in old.items() if key not in gone}
        self._put(_Entry(replace(known, version=fronts.version), fronts, kept))

    def measured(self, known: Known, after: Known, candidate: int) -> None:
        """Record a committed change of one candidate's measurements, which leaves the front unchanged."""
        entry = self._entry(known.id, known.version)
        if entry is not None:
            with self._lock:
                kept = {key: each for key, each in entry.members.items() if key != candidate}
            self._put(_Entry(after, replace(entry.fronts, version=after.version), kept))

    def _entry(self, search: int, version: int) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(search)
            if entry is None or entry.known.version != version:
                return None
            self._entries.move_to_end(search)
            return entry

    def _put(self, entry: _Entry) -> None:
        with self._lock:
            self._entries[entry.known.id] = entry
            self._entries.move_to_end(entry.known.id)
            while len(self._entries) > SEARCHES:
                self._entries.popitem(last=False)
            self._shrink()

    def _shrink(self) -> None:
        """Drop members until at most `MEMBERS` are left, from the least recently used searches first."""
        surplus = sum(len(entry.members) for entry in self._entries.values()) - MEMBERS
        for entry in self._entries.values():
            if surplus <= 0:
                return
            surplus -= len(entry.members)
            entry.members = {}
