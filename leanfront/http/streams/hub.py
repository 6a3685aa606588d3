"""Hub of event streams: one poller per followed thing, and a limit on open streams.

Nothing is queued per follower. Each follower knows its position and takes the next events from the poller's latest
result, or from the database if it is further behind; so a slow follower takes no memory.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from leanfront.core.storage import FrontierStore
from leanfront.errors import StorageError
from leanfront.http.metrics import Metrics
from leanfront.http.problems import Problem
from leanfront.http.settings import Settings

PATIENCE = 1.0
"""Seconds between two polls of a database that does not answer."""

T = TypeVar("T")
Run = Callable[..., Awaitable[Any]]
"""Function that calls another one with arguments in a thread."""

log = logging.getLogger("leanfront.http")


class Hub:
    """All event streams of a server.

    Args:
        store: store that is polled.
        settings: limit on streams, and interval of polls.
        metrics: metrics that count open streams.
        run: calls functions that read from the database.
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
        """Count one more open stream. Raises `Problem` if there are too many."""
        if self.closing.is_set():
            raise Problem("overloaded", "the server is stopping")
        if self._open >= self.settings.streams:
            raise Problem(
                "overloaded",
                f"{self._open} event streams are open, which is the limit",
                headers={"Retry-After": "10"},
            )
        self._open += 1
        self._metrics.streams.set(self._open)

    def leave(self) -> None:
        """Count one open stream less."""
        self._open -= 1
        self._metrics.streams.set(self._open)

    def watch(self, key: int, make: Callable[[], Watch]) -> Watch:
        """Return the watch with a key and add a follower to it; create the watch if there is none."""
        found = self._watches.get(key)
        if found is None:
            found = self._watches[key] = make()
        found.followers += 1
        return found

    def part(self, watch: Watch) -> None:
        """Remove a follower; the last one ends the poller."""
        watch.followers -= 1
        if not watch.followers:
            watch.stop()
            if self._watches.get(watch.id) is watch:
                del self._watches[watch.id]

    async def ask(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a function that reads from the database in a thread of the pollers."""
        found: T = await self._run(work, self._store, *arguments)
        return found

    def close(self) -> None:
        """End all streams at once."""
        self.closing.set()
        for watch in self._watches.values():
            watch.stop()


class Watch(ABC):
    """Something in the database that is polled once for all of its followers.

    Args:
        hub: hub that reads from the database.
        key: key of the watch in the hub.
        what: name of the watched thing for the log.
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
        """Poll the database; return whether there is news. Raises `StorageError`."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to poll."""
        return False

    async def wait(self, seconds: float) -> bool:
        """Wait for news; return False if none came in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def stop(self) -> None:
        """End the poller, and wake all followers."""
        self._poller.cancel()
        self._tell()

    def _tell(self) -> None:
        # This wakes all who wait; later ones wait for the next news.
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
