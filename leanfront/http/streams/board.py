"""What happens to all searches: the newest as they are, and then what changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field

from fastapi.sse import KEEPALIVE_COMMENT

from leanfront.core.search import SearchRecord
from leanfront.core.storage import About, FrontierStore, Mark
from leanfront.http.streams.event_stream import RETRY, event
from leanfront.http.streams.hub import Hub, Watch

NEWEST = 100
"""Searches that a follower hears of first."""
MOST_SEARCHES = 200
"""That are looked at: when more have been made meanwhile, the newest again."""
KEY = 0
"""Of the board among all that is watched: searches have their ids, from 1."""


@dataclass(frozen=True)
class Snapshot:
    """The searches at a moment.

    Args:
        floor: id of the first one that is looked at.
        marks: id -> how far it is.
        about: id -> what never changes.
    """

    floor: int = 0
    marks: Mapping[int, Mark] = field(default_factory=dict)
    about: Mapping[int, About] = field(default_factory=dict)

    def event(self, identifier: int) -> bytes:
        """The event that tells how a search is: data as `GET /searches` has it."""
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
    """All searches, looked at by one poller for all that follow them."""

    def __init__(self, hub: Hub, first: Snapshot) -> None:
        super().__init__(hub, KEY, "all searches")
        self.now = first

    async def look(self) -> bool:
        """Look at the searches; whether one has come, changed or gone."""
        before = self.now
        found = await self.hub.ask(snapshot, before)
        if found.marks == before.marks:
            return False
        self.now = found
        return True


def snapshot(store: FrontierStore, before: Snapshot | None = None) -> Snapshot:
    """The searches now: the newest, or those that were looked at before and all made since."""
    found = store.marks.newest(NEWEST)[::-1] if before is None else store.marks.since(before.floor)
    floor = 0 if before is None else before.floor
    if len(found) > MOST_SEARCHES or (before is None and len(found) == NEWEST):
        found = found[-NEWEST:]
        floor = found[0].id
    known = {} if before is None else before.about
    fresh = store.marks.about([each.id for each in found if each.id not in known])
    # One that was deleted between the two is not there any more.
    all_of = {each.id: fresh.get(each.id) or known.get(each.id) for each in found}
    about = {identifier: each for identifier, each in all_of.items() if each is not None}
    return Snapshot(floor, {each.id: each for each in found if each.id in about}, about)


async def follow_all(hub: Hub, first: Snapshot) -> AsyncGenerator[bytes]:
    """How all searches are, and what changes, for as long as the client stays."""
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
            # What the poller has found while this was sent is not waited for.
            if board.now is now and not await board.wait(hub.settings.heartbeat_seconds):
                yield KEEPALIVE_COMMENT
    finally:
        hub.part(board)


def _changes(told: Snapshot, now: Snapshot) -> Iterator[bytes]:
    """What a follower who was told of one moment has to hear of another one."""
    for identifier, mark in told.marks.items():
        # Those below the floor are not looked at any more.
        if identifier not in now.marks and identifier >= now.floor:
            yield event("removed", {"name": mark.name})
    for identifier, mark in now.marks.items():
        if told.marks.get(identifier) != mark:
            yield now.event(identifier)
