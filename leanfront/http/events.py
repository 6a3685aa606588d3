"""Server-sent events: what happens to a search, from any trial on.

A search that somebody follows is looked at by one poller, however many follow it. Nothing is queued for a
follower: each knows how far it is and takes what comes next from the poller's latest events, or from the database
where it is further behind. A slow one costs no memory, and one that accepts nothing is disconnected.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from fastapi import Response

from leanfront.core.storage import FrontierStore, TrialEvent, marks
from leanfront.core.storage.marks import Mark
from leanfront.errors import NotFoundError, StorageError
from leanfront.http.metrics import Metrics
from leanfront.http.problems import Problem
from leanfront.http.settings import LARGEST_ID, Settings

PAGE = 200
REMEMBERED = 1_000
"""Events a poller keeps: followers that are less behind than this need not ask the database."""
PATIENCE = 1.0
"""Seconds between two looks at a database that does not answer."""
_PLACE = re.compile(r"(\d{1,19})(?:-([a-z]+))?")

T = TypeVar("T")
Run = Callable[..., Awaitable[Any]]
"""Calls a function with arguments in a thread."""

log = logging.getLogger("leanfront.http")


class Hub:
    """All event streams of a server.

    Args:
        store: the database.
        settings: how many streams, how often to look.
        metrics: where open streams are counted.
        run: calls what reads the database.
    """

    def __init__(self, store: FrontierStore, settings: Settings, metrics: Metrics, run: Run) -> None:
        self.settings = settings
        self._store = store
        self._metrics = metrics
        self._run = run
        self._watches: dict[int, Watch] = {}
        self._open = 0
        self.closing = asyncio.Event()

    def enter(self) -> None:
        """Take a place among the open streams. Raises `Problem`: there is none."""
        if self.closing.is_set():
            raise Problem("overloaded", "the server is about to stop")
        if self._open >= self.settings.streams:
            raise Problem(
                "overloaded",
                f"{self._open} event streams are open, which is all there may be",
                headers={"Retry-After": "10"},
            )
        self._open += 1
        self._metrics.streams.set(self._open)

    def leave(self) -> None:
        """Give the place back."""
        self._open -= 1
        self._metrics.streams.set(self._open)

    def join(self, mark: Mark) -> Channel:
        """The channel of a search, with one more follower."""
        channel = self.watch(mark.id, lambda: Channel(self, mark))
        assert isinstance(channel, Channel)
        return channel

    def watch(self, key: int, make: Callable[[], Watch]) -> Watch:
        """What is looked at under a key, with one more follower; made where nobody followed it."""
        found = self._watches.get(key)
        if found is None:
            found = self._watches[key] = make()
        found.followers += 1
        return found

    def part(self, watch: Watch) -> None:
        """One follower less; the last one ends the poller."""
        watch.followers -= 1
        if not watch.followers:
            watch.stop()
            if self._watches.get(watch.id) is watch:
                del self._watches[watch.id]

    async def ask(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call something that reads from the database, in a poller's thread."""
        found: T = await self._run(work, self._store, *arguments)
        return found

    async def mark(self, name: str) -> Mark:
        """Look at a search."""
        return await self.ask(marks.mark, name)

    async def trials(self, name: str, after: int) -> list[TrialEvent]:
        """A page of its trials."""
        found: list[TrialEvent] = await self._run(self._store.events, name, after, PAGE)
        return found

    def close(self) -> None:
        """End all streams, now."""
        self.closing.set()
        for watch in self._watches.values():
            watch.stop()


class Watch(ABC):
    """Something in the database that one poller looks at, however many follow it.

    Args:
        hub: asks the database.
        key: of what is looked at.
        what: the same in words.
    """

    def __init__(self, hub: Hub, key: int, what: str) -> None:
        self.id = key
        self.followers = 0
        self.hub = hub
        self._what = what
        self._news = asyncio.Event()
        self._poller = asyncio.get_running_loop().create_task(self._poll())

    @abstractmethod
    async def look(self) -> bool:
        """Look at the database; whether there are news. Raises `StorageError`."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing to look at any more."""
        return False

    async def wait(self, seconds: float) -> bool:
        """Wait for news; False when there is none for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def stop(self) -> None:
        """End the poller, and wake everyone."""
        self._poller.cancel()
        self._tell()

    def _tell(self) -> None:
        # Everyone who waits is woken; whoever comes later waits for the next news.
        self._news.set()
        self._news = asyncio.Event()

    async def _poll(self) -> None:
        while not self.ended:
            await asyncio.sleep(self.hub.settings.poll_seconds)
            try:
                news = await self.look()
            except StorageError as error:
                log.warning("following %s: %s", self._what, error)
                await asyncio.sleep(PATIENCE)
                continue
            if news:
                self._tell()


class Channel(Watch):
    """A search that is followed.

    Args:
        hub: asks the database.
        mark: how far the search is.
    """

    def __init__(self, hub: Hub, mark: Mark) -> None:
        super().__init__(hub, mark.id, f"search {mark.name}")
        self.mark: Mark | None = mark
        self._name = mark.name
        self._latest: deque[TrialEvent] = deque(maxlen=REMEMBERED)
        self._seen = mark.trials

    @property
    def ended(self) -> bool:
        """Whether it has been deleted."""
        return self.mark is None

    async def trials(self, after: int) -> list[TrialEvent]:
        """The next trials behind one, in order."""
        if self._latest and self._latest[0].sequence <= after + 1:
            return [event for event in self._latest if event.sequence > after]
        return await self.hub.trials(self._name, after)

    async def look(self) -> bool:
        """Look at the search and its new trials; whether there are news."""
        mark: Mark | None
        try:
            mark = await self.hub.mark(self._name)
            while self._seen < mark.trials:
                found = await self.hub.trials(self._name, self._seen)
                if not found:
                    break
                self._latest.extend(found)
                self._seen = found[-1].sequence
        except NotFoundError:
            mark = None
        if mark is not None and mark.id != self.id:
            mark = None  # deleted, and another made under its name
        news = mark != self.mark
        self.mark = mark
        return news


class Place:
    """How far a follower is.

    Args:
        text: the ``Last-Event-ID``: the last trial's sequence, and behind a ``-`` the final state it was told.

    Raises:
        Problem: 422: no such place.
    """

    def __init__(self, text: str | None) -> None:
        match = _PLACE.fullmatch(text or "0")
        if match is None or int(match[1]) > LARGEST_ID:
            raise Problem(
                "invalid",
                "Last-Event-ID is not one that this server sent",
                [{"parameter": "Last-Event-ID", "detail": "a number"}],
            )
        self.sequence = int(match[1])
        self.ended = match[2]

    def is_end(self, mark: Mark) -> bool:
        """Whether the follower knows all, and nothing more will come."""
        return mark.ended and self.ended == mark.state and self.sequence == mark.trials


async def follow(hub: Hub, mark: Mark, place: Place) -> AsyncIterator[bytes]:
    """The events of a search from a place on, until its end."""
    channel = hub.join(mark)
    # A place beyond the end is of another search, deleted since, that had the same name.
    sequence = place.sequence if place.sequence <= mark.trials else 0
    frontier: dict[str, Any] | None = None
    state: dict[str, Any] | None = None
    names = [objective.name for objective in mark.objectives]
    try:
        yield b"retry: 2000\n\n"
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
            # What the poller has found while this was sent is not waited for.
            if channel.mark is now and not await channel.wait(hub.settings.heartbeat_seconds):
                yield b": still here\n\n"
    except StorageError as error:
        # The client comes back to where it was.
        log.warning("an event stream of search %s ended: %s", mark.name, error)
    finally:
        hub.part(channel)


def event(kind: str, data: dict[str, Any], place: str | None = None) -> bytes:
    """An event as it is sent."""
    head = "" if place is None else f"id: {place}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(data, allow_nan=False)}\n\n".encode()


def trial_json(trial: TrialEvent, objectives: list[str]) -> dict[str, Any]:
    """Data of a ``trial`` event."""
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


class EventStream(Response):
    """An answer that goes on until the search ends, the client leaves, or the server stops.

    Args:
        hub: the server's streams.
        events: what to send.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, events: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        # The length is not known.
        del self.headers["content-length"]
        self._hub = hub
        self._events = events

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        self._hub.enter()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            sending = asyncio.ensure_future(self._send(send))
            leaving = asyncio.ensure_future(_left(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    task.cancel()
                outcome = await asyncio.gather(sending, leaving, return_exceptions=True)
            if isinstance(outcome[0], Exception) and not isinstance(outcome[0], OSError):
                raise outcome[0]
        finally:
            self._hub.leave()

    async def _send(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        events = self._events
        try:
            async for chunk in events:
                async with asyncio.timeout(self._hub.settings.send_seconds):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            raise OSError("the client accepts nothing") from None
        finally:
            await events.aclose()  # type: ignore[attr-defined]


async def _left(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
