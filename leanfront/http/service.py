"""Objects shared by the routes: store, registry, and threads for the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Path, Request

from leanfront.core.storage import FrontierStore, require_name
from leanfront.core.storage.searches import LONGEST_NAME
from leanfront.core.targets.registry import Registry
from leanfront.errors import NotFoundError, UsageError
from leanfront.http.answers import Answers
from leanfront.http.metrics import Metrics
from leanfront.http.settings import LARGEST_ID, Settings
from leanfront.http.streams.hub import Hub
from leanfront.locations import open_shelf

P = ParamSpec("P")
T = TypeVar("T")


class Service:
    """Shared objects of one server.

    Args:
        store: store of the searches.
        registry: targets that can be searched.
        settings: keys and limits.
    """

    def __init__(self, store: FrontierStore, registry: Registry, settings: Settings) -> None:
        self.store = store
        self.shelf = open_shelf(store)
        self.registry = registry
        self.settings = settings
        self.metrics = Metrics(store)
        self.answers = Answers(settings.cache_bytes)
        self._readers = ThreadPoolExecutor(settings.readers, "leanfront-read")
        self._writers = ThreadPoolExecutor(settings.writers, "leanfront-write")
        self._pollers = ThreadPoolExecutor(2, "leanfront-poll")
        self.hub = Hub(store, settings, self.metrics, partial(_run, self._pollers))

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that reads from the database in a thread."""
        return await _run(self._readers, work, *args, **kwargs)

    async def write(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that writes to the database in a thread."""
        return await _run(self._writers, work, *args, **kwargs)

    def close(self) -> None:
        """End the streams, and the threads once they are idle."""
        self.hub.close()
        for executor in (self._readers, self._writers, self._pollers):
            executor.shutdown(wait=False, cancel_futures=True)


async def _run(executor: Executor, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, partial(work, *args, **kwargs))


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _search_name(
    name: Annotated[
        str, Path(description="Name of the search.", min_length=1, max_length=LONGEST_NAME, examples=["mine"])
    ],
) -> str:
    try:
        require_name(name)
    except UsageError as error:
        raise NotFoundError(f"no search has such a name: {error}") from None
    return name


Ours = Annotated[Service, Depends(_service)]
SearchName = Annotated[str, Depends(_search_name)]
CandidateId = Annotated[int, Path(description="Id of the candidate.", ge=1, le=LARGEST_ID, examples=[17])]
