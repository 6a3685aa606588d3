"""Event stream of all searches: first their current state, then every change."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field

from fastapi.sse import KEEPALIVE_COMMENT

from leanfront.core.search import SearchRecord
from leanfront.core.storage import About, FrontierStore, Mark
from leanfront.http.streams.event_stream import RETRY, event
from leanfront.http.streams.hub import Hub, Watch

NEWEST = 100
"""Number of newest searches that a stream begins with."""
MOST_SEARCHES = 200
"""Largest number of searches polled; if more are created, only the newest ones are kept."""
KEY = 0
"""Key of the board in the hub; searches use their ids, which start at 1."""


@dataclass(frozen=True)
class Snapshot:
    """State of the searches at one moment.

    Args:
        floor: smallest id that is polled.
        marks: id -> progress of the search.
        about: id -> what never changes about the search.
    """

    floor: int = 0
    marks: Mapping[int, Mark] = field(default_factory=dict)
    about: Mapping[int, About] = field(default_factory=dict)

    def event(self, identifier: int) -> bytes:
        """Return the event with the state of a search, as `GET /searches` lists it."""
        mark, about = self.marks[identifier], self.about[identifier]
        record = SearchRecord(
            name=mark.name,
            target=about.target,
            fingerprint=mark.fingerprint,
            objectives=tuple(objective.name for objective in mark.objectives),
            reference={},
            settings={"registered": about.registered},
            state=mark.state,
            message=mark.message,
            trials=mark.trials,
            frontier_size=mark.frontier_size,
            hypervolume=mark.hypervolume,
            hypervolume_log2=mark.hypervolume_log2,
            created=about.created.isoformat(),
        )
        return event("search", record.to_json())


class Board(Watch):
    """All searches, polled once for all followers."""

    def __init__(self, hub: Hub, first: Snapshot) -> None:
        super().__init__(hub, KEY, "all searches")
        self.now = first

    async def look(self) -> bool:
        """Poll the searches; return whether one was created, changed or deleted."""
        before = self.now
        found = await self.hub.ask(snapshot, before)
        if found.marks == before.marks:
            return False
        self.now = found
        return True


def snapshot(store: FrontierStore, before: Snapshot | None = None) -> Snapshot:
    """Return the current searches: the newest ones, or those of an earlier snapshot and all created since."""
    found = store.marks.newest(NEWEST)[::-1] if before is None else store.marks.since(before.floor)
    floor = 0 if before is None else before.floor
    if len(found) > MOST_SEARCHES or (before is None and len(found) == NEWEST):
        found = found[-NEWEST:]
        floor = found[0].id
    known = {} if before is None else before.about
    fresh = store.marks.about([each.id for each in found if each.id not in known])
    # A search deleted between the two queries is missing here.
    all_of = {each.id: fresh.get(each.id) or known.get(each.id) for each in found}
    about = {identifier: each for identifier, each in all_of.items() if each is not None}
    return Snapshot(floor, {each.id: each for each in found if each.id in about}, about)


async def follow_all(hub: Hub, first: Snapshot) -> AsyncGenerator[bytes]:
    """Yield the state of all searches and then their changes, until the client leaves."""
    board = hub.watch(KEY, lambda: Board(hub, first))
    assert isinstance(board, Board)
    told = Snapshot()
    try:
        yield RETRY
        while not hub.closing.is_set():
            now = board.now
            for each in _changes(told, now):
                yield each
            told = now
            # If the poller found news while this was sent, do not wait.
            if board.now is now and not await board.wait(hub.settings.heartbeat_seconds):
                yield KEEPALIVE_COMMENT
    finally:
        hub.part(board)


def _changes(told: Snapshot, now: Snapshot) -> Iterator[bytes]:
    """Yield the events that lead from one snapshot to another."""
    for identifier, mark in told.marks.items():
        # Searches below the floor are no longer polled.
        if identifier not in now.marks and identifier >= now.floor:
            yield event("removed", {"name": mark.name})
    for identifier, mark in now.marks.items():
        if told.marks.get(identifier) != mark:
            yield now.event(identifier)
