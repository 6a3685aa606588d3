"""Event stream of one search, from any trial on."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT

from leanfront.core.storage import FrontierStore, Mark, TrialEvent
from leanfront.errors import NotFoundError, StorageError
from leanfront.http.problems import Problem
from leanfront.http.settings import LARGEST_ID
from leanfront.http.streams.event_stream import RETRY, event
from leanfront.http.streams.hub import Hub, Watch

TRIALS_AT_ONCE = 200
"""Largest number of trials read from the database at once."""
REMEMBERED = 1_000
"""Number of latest trials that a poller keeps; only followers further behind read from the database."""
_POSITION = re.compile(r"(\d{1,19})(?:-([a-z]+))?")

log = logging.getLogger("leanfront.http")


class Channel(Watch):
    """A followed search, polled once for all followers.

    Args:
        hub: hub that reads from the database.
        mark: progress of the search.
    """

    def __init__(self, hub: Hub, mark: Mark) -> None:
        super().__init__(hub, mark.id, f"search {mark.name}")
        self.mark: Mark | None = mark
        self._name = mark.name
        self._latest: deque[TrialEvent] = deque(maxlen=REMEMBERED)
        self._seen = mark.trials

    @property
    def ended(self) -> bool:
        """Whether the search was deleted."""
        return self.mark is None

    async def trials(self, after: int) -> list[TrialEvent]:
        """Return the next trials after a sequence number, in order."""
        if self._latest and self._latest[0].sequence <= after + 1:
            return [event for event in self._latest if event.sequence > after]
        return await self.hub.ask(_trials, self._name, after)

    async def look(self) -> bool:
        """Poll the search and its new trials; return whether there is news."""
        mark: Mark | None
        try:
            mark = await self.hub.ask(_mark, self._name)
            while self._seen < mark.trials:
                found = await self.hub.ask(_trials, self._name, self._seen)
                if not found:
                    break
                self._latest.extend(found)
                self._seen = found[-1].sequence
        except NotFoundError:
            mark = None
        if mark is not None and mark.id != self.id:
            mark = None  # deleted, and another one created under its name
        news = mark != self.mark
        self.mark = mark
        return news


def _mark(store: FrontierStore, name: str) -> Mark:
    return store.marks.of(name)


def _trials(store: FrontierStore, name: str, after: int) -> list[TrialEvent]:
    return store.events(name, after, TRIALS_AT_ONCE)


class StreamPosition:
    """Position of a follower in a stream.

    Args:
        text: the ``Last-Event-ID``: sequence of the last trial and, after a ``-``, the final state if it was sent.

    Raises:
        Problem: 422: the position is invalid.
    """

    def __init__(self, text: str | None) -> None:
        match = _POSITION.fullmatch(text or "0")
        if match is None or int(match[1]) > LARGEST_ID:
            raise Problem(
                "invalid",
                "Last-Event-ID is not one that this server sent",
                [{"parameter": "Last-Event-ID", "detail": "a number"}],
            )
        self.sequence = int(match[1])
        self.ended = match[2]

    def is_end(self, mark: Mark) -> bool:
        """Whether the follower has received everything and nothing more will come."""
        return mark.ended and self.ended == mark.state and self.sequence == mark.trials


async def follow_search(hub: Hub, mark: Mark, position: StreamPosition) -> AsyncGenerator[bytes]:
    """Yield the events of a search from a position until its end."""
    channel = hub.watch(mark.id, lambda: Channel(hub, mark))
    assert isinstance(channel, Channel)
    # A position beyond the end belongs to a deleted search of the same name.
    sequence = position.sequence if position.sequence <= mark.trials else 0
    frontier: dict[str, Any] | None = None
    state: dict[str, Any] | None = None
    names = [objective.name for objective in mark.objectives]
    try:
        yield RETRY
        while not hub.closing.is_set():
            now = channel.mark
            if now is None:
                yield event("state", {"state": "deleted", "message": None, "trials": sequence})
                return
            while sequence < now.trials and not hub.closing.is_set():
                trials = await channel.trials(sequence)
                if not trials:
                    break
                for each in trials:
                    yield event("trial", trial_json(each, names), str(each.sequence))
                    sequence = each.sequence
            if now.frontier_json() != frontier:
                frontier = now.frontier_json()
                yield event("frontier", frontier)
            if (now.state, now.message) != (state and (state["state"], state["message"])):
                state = now.state_json()
                yield event("state", state, f"{sequence}-{now.state}" if now.ended else None)
            if now.ended:
                return
            # If the poller found news while this was sent, do not wait.
            if channel.mark is now and not await channel.wait(hub.settings.heartbeat_seconds):
                yield KEEPALIVE_COMMENT
    except StorageError as error:
        # The client reconnects at its position.
        log.warning("an event stream of search %s ended: %s", mark.name, error)
    finally:
        hub.part(channel)


def trial_json(trial: TrialEvent, objectives: list[str]) -> dict[str, Any]:
    """Return the data of a ``trial`` event."""
    values = None if trial.values is None else dict(zip(objectives, trial.values, strict=False))
    return {
        "sequence": trial.sequence,
        "trial": trial.number,
        "candidate": trial.candidate,
        "state": trial.state,
        "values": values,
        "duplicate": trial.duplicate,
        "entered": trial.entered,
        "created": trial.created.isoformat(),
    }
