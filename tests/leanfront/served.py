"""The API on a real socket, in a thread of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from leanfront.http import Server, Settings

REGISTRY = Registry.of(("digits=digits", "other=models/other.py:target"))
Serving = Callable[..., AbstractContextManager[str]]


@contextmanager
def served(store: FrontierStore, registry: Registry = REGISTRY, **changes: Any) -> Iterator[str]:
    server = Server(store, registry, port=0, settings=Settings(**{"poll_seconds": 0.05, **changes}))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive()
