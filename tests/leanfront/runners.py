"""Runners in threads of a test's own process, and waiting for what they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from leanfront.worker.runner import Runner
from leanfront.worker.settings import WorkerSettings


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so. Raises `AssertionError`, naming it, after two minutes."""
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


def running(store: FrontierStore) -> tuple[Runner, threading.Thread]:
    """A runner that ends when the queue is empty, with a short lease, and its thread."""
    runner = Runner(store, WorkerSettings(device="cpu", lease=2.0))
    thread = threading.Thread(target=runner.run, kwargs={"once": True})
    thread.start()
    return runner, thread


@contextmanager
def working(store: FrontierStore, registry: Registry) -> Iterator[None]:
    """A runner that takes jobs meanwhile."""
    runner = Runner(store, WorkerSettings(registry, device="cpu"))
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        yield
    finally:
        runner.stop()
        thread.join(60)
        assert not thread.is_alive()
