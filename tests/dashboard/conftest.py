"""The dashboard in a real browser, on searches that are worth looking at."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from leanfront.core.storage import FrontierStore
from tests.chromium import VARIABLE, launched
from tests.dashboard.browser import PATIENCE, Watch, opened
from tests.dashboard.showcase import DATABASE, many, searched
from tests.leanfront.served import served
from tests.once import once

expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever has no browser leaves them out by name."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """What servers say is read by tests that listen."""
    loggers = [logging.getLogger(name) for name in ("leanfront.http", "uvicorn")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    yield
    for each, level in zip(loggers, before, strict=True):
        each.setLevel(level)


@pytest.fixture(scope="session")
def showcase_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``showcase.db`` and ``artifacts``: the search `digits`, really searched and audited."""
    return once(tmp_path_factory, "showcase", searched)


@pytest.fixture(scope="session")
def big_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``showcase.db``: `big` of 10,000 made-up candidates, and one with an odd name."""
    return once(tmp_path_factory, "big", many)


Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def serve() -> Serve:
    """Serve a folder's database for as long as a context lasts; keywords are those of `served`."""

    @contextmanager
    def serving(folder: Path, **changes: Any) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch, FrontierStore(f"sqlite:///{folder / DATABASE}") as store:
            patch.setenv("LEANFRONT_ARTIFACTS", str(folder / "artifacts"))
            with served(store, **changes) as url:
                yield url

    return serving


@pytest.fixture(scope="module")
def showcase(showcase_folder: Path, serve: Serve) -> Iterator[str]:
    """Address of a server with the search `digits`; tests that change something copy the folder instead."""
    with serve(showcase_folder) as url:
        yield url


@pytest.fixture(scope="module")
def big(big_folder: Path, serve: Serve) -> Iterator[str]:
    """Address of a server with the searches `big` and `ODD`."""
    with serve(big_folder) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running browser, for the tests of a file: its event loop would be in the way of other files' own."""
    if os.environ.get(VARIABLE) == "none":
        pytest.skip(f"not run: {VARIABLE} says that there is no browser")
    with launched() as running:
        yield running


Open = Callable[..., AbstractContextManager[tuple[Page, Watch]]]


@pytest.fixture
def open_page(browser: Browser) -> Open:
    """Open a page on a server, with options of its profile; see `opened`."""
    return lambda url, **options: opened(browser, url, **options)


@pytest.fixture
def page(browser: Browser, showcase: str) -> Iterator[Page]:
    """A page on `showcase`: `page.goto("/searches/digits")`. Errors and requests to elsewhere fail the test."""
    with opened(browser, showcase) as (shown, _):
        yield shown
