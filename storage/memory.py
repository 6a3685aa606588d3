"""What was read of the searches used last, kept for as long as it still holds.

A search's row has a `frontier_version`, which grows with every change of the frontier's members, of what is
measured on them, and of what the search is about. A query asks for that number; while it is the same, the rest
need not be read again, whoever writes.
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
"""Searches that are remembered."""
MEMBERS = 5_000
"""Candidates that are remembered, of all searches together: each takes some 10 KB."""

_SEARCHES = table(SearchRow)


@dataclass(frozen=True)
class Version:
    """A state of a frontier that has just been seen in the database: what is in memory of it need not be asked for.

    Args:
        search: the search's id.
        frontier: its `frontier_version`.
    """

    search: int
    frontier: int


@dataclass(frozen=True)
class Known:
    """What queries need of a search besides its frontier.

    Args:
        id: the search's.
        version: of its frontier.
        measured: version of what is measured on its stored candidates.
        objectives: in order.
        cheapest: least costs that its space can reach, from its settings; None when unknown.
        dense: names of what is measured on the dense model.
    """

    id: int
    version: int
    measured: int
    objectives: tuple[Objective, ...]
    cheapest: Mapping[str, Any] | None
    dense: frozenset[str]

    @classmethod
    def of(cls, row: SearchRow) -> Known:
        """What a search's row says."""
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
    """The frontiers of the searches used last; safe for several threads."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, session: Session, name: str, version: Version | None = None) -> Known:
        """A search by name, or as it was at a version that is in memory still.

        Raises `NotFoundError`, naming the searches that exist.
        """
        remembered = None if version is None else self.at(version.search, version.frontier)
        if remembered is not None:
            return remembered
        columns = (_SEARCHES.c.id, _SEARCHES.c.frontier_version)
        found = session.execute(select(*columns).where(_SEARCHES.c.name == name)).one_or_none()
        entry = None if found is None else self._entry(*found)
        return Known.of(find_search(session, name)) if entry is None else entry.known

    def at(self, search: int, version: int) -> Known | None:
        """A search by id as it was at a version of its frontier, where that is in memory."""
        entry = self._entry(search, version)
        return None if entry is None else entry.known

    def of(self, row: SearchRow) -> Known:
        """What queries need of a search whose row is here, perhaps with its counters alone."""
        entry = self._entry(row.id, row.frontier_version)
        return Known.of(row) if entry is None else entry.known

    def front(self, session: Session, known: Known, stage: str) -> Front:
        """The front of that version at a stage: the one in memory, or read. Raises `UsageError`: no such stage."""
        return self.fronts(session, known).of(stage)

    def fronts(self, session: Session, known: Known) -> Fronts:
        """The fronts of that version: those in memory, or read."""
        entry = self._entry(known.id, known.version)
        if entry is None:
            entry = _Entry(known, load(session, known.id, len(known.objectives), known.version))
            self._put(entry)
        return entry.fronts

    def members(self, session: Session, known: Known, ids: Iterable[int]) -> dict[int, Candidate]:
        """Members of the weak fronts by id, of that version.

        The candidates are shared: nobody may change the mappings in them.
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
            # Where a writer has put another entry in its place meanwhile, this one is not seen any more.
            with self._lock:
                entry.members.update(read)
                self._shrink()
        return {**have, **read}

    def changed(self, known: Known, fronts: Fronts, changes: BothChanges) -> None:
        """A frontier has been changed, and that is committed.

        Args:
            known: the search, as it was before.
            fronts: its fronts now.
            changes: what happened to them.
        """
        entry = self._entry(known.id, known.version)
        gone = {each for some in (changes.before, changes.after) for each in some.removed | some.demoted}
        with self._lock:
            old = {} if entry is None else entry.members
            kept = {key: each for key, each in old.items() if key not in gone}
        self._put(_Entry(replace(known, version=fronts.version), fronts, kept))

    def measured(self, known: Known, after: Known, candidate: int) -> None:
        """Only a candidate's measurements have changed: the front of one version is that of the next."""
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
        """Forget members, of the search used longest ago first."""
        surplus = sum(len(entry.members) for entry in self._entries.values()) - MEMBERS
        for entry in self._entries.values():
            if surplus <= 0:
                return
            surplus -= len(entry.members)
            entry.members = {}
