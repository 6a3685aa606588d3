"""What is looked at for those who follow it, by one poller each; and the places of all open streams.

Nothing is queued for a follower: each knows how far it is and takes what comes next from what the poller has found
last, or from the database where it is further behind. A slow one costs no memory.
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
"""Seconds between two looks at a database that does not answer."""

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
