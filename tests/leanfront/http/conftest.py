"""Stores with something in them, and the API on a real socket."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from leanfront.core.storage import FrontierStore
from leanfront.remote.client import Client
from leanfront.remote.search import RemoteSearch
from tests.leanfront.filling import Fill
from tests.leanfront.served import Serving, served


@pytest.fixture(scope="session")
def fill() -> type[Fill]:
    """The maker of searches."""
    return Fill


@pytest.fixture
def store(any_url: str) -> Iterator[FrontierStore]:
    """An empty store, once of each kind."""
    with FrontierStore(any_url) as opened:
        yield opened


@pytest.fixture
def file_store(sqlite_template: Path, tmp_path: Path) -> Iterator[FrontierStore]:
    """An empty store in a SQLite file: for what has nothing to do with the kind of database."""
    shutil.copy(sqlite_template, tmp_path / "file.db")
    with FrontierStore(f"sqlite:///{tmp_path}/file.db") as opened:
        yield opened


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FrontierStore]:
    """A store with the finished search `mine`, of 40 trials, for all tests of a module: they change nothing."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('filled')}/filled.db"
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql")
            url = stack.enter_context(server.database(request.getfixturevalue("postgresql_template")))
        store = stack.enter_context(FrontierStore(url))
        Fill.search(store)
        yield store


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Serve a store on a free port for as long as a context lasts; keywords are those of `Settings`."""
    return served


@pytest.fixture
def client(store: FrontierStore, fill: type[Fill], serving: Serving) -> Iterator[httpx2.Client]:
    """A client of a server with the finished search `mine`, of 40 trials."""
    fill.search(store)
    with serving(store) as url, httpx2.Client(base_url=url, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="module")
def file_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client as `client`, on SQLite, for all tests of a module: they change nothing."""
    with FrontierStore(f"sqlite:///{tmp_path_factory.mktemp('served')}/file.db") as opened:
        Fill.search(opened)
        with served(opened) as url, httpx2.Client(base_url=url, timeout=30) as client:
            yield client


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What the server says is read by tests that listen; no test leaves handlers behind."""
    loggers = [logging.getLogger(name) for name in ("leanfront.http", "uvicorn")]
    before = [(each.handlers, each.propagate, each.level) for each in loggers]
    yield
    for each, (handlers, propagate, level) in zip(loggers, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


@pytest.fixture
def own(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontierStore]:
    """This test's own copy of what a file's `searched` has made: a folder with ``own.db`` and ``artifacts``."""
    folder = Path(shutil.copytree(searched, tmp_path / "own"))
    monkeypatch.setenv("LEANFRONT_ARTIFACTS", str(folder / "artifacts"))
    with FrontierStore(f"sqlite:///{folder}/own.db") as store:
        yield store


@pytest.fixture
def mine(url: str) -> Iterator[RemoteSearch]:
    """The search `mine` of a file's server, over the network."""
    with Client(url) as client:
        yield client.open_search("mine")
