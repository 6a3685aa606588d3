"""Stores with something in them, and the API on a real socket."""

from __future__ import annotations

import dataclasses
import logging
import math
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from compressors.configuration import Configuration
from leanfront.client import Client
from leanfront.http import Server, Settings
from leanfront.registry import Registry
from leanfront.remote_search import RemoteSearch
from objectives import METRICS, Measurement, resolve
from search import Candidate, Claim, SearchRecord, TrialRecord, Verification
from storage import AuditRecord, FrontierStore

API = "/api/v1"
REGISTRY = Registry.of(("digits=digits", "other=models/other.py:target"))


class Fill:
    """Makes searches of made-up trials."""

    @staticmethod
    def record(name: str = "mine", **changes: Any) -> SearchRecord:
        names = tuple(objective.name for objective in resolve("accuracy,memory,macs"))
        dense = (
            Measurement("accuracy", 0.95, "validation", 0.93, 0.97, 500),
            Measurement("memory_bytes", 2_000_000.0, unit="byte"),
            Measurement("macs", 2e7, unit="MAC"),
        )
        fields: dict[str, Any] = {
            "target": "digits",
            "fingerprint": "f" * 64,
            "objectives": names,
            "reference": {"accuracy": 0.1, "memory": 2e6, "macs": 2e7},
            "settings": {"cheapest": {"memory_bytes": 1000.0, "macs": 2000.0}, "trials": 200},
            "dense": dense,
            "coverage": {"parameters": 10, "memory_bytes": 40, "macs": 5, "quantisable_bytes": 0.5}
            | {
                "prunable_bytes": 0.5,
                "quantisable_macs": 0.5,
                "prunable_macs": 0.5,
                "groups": [{"name": "g"}],
            }
            | {"layers": [{"name": "l"}], "exclusions": [], "unsupported_operators": {}},
        }
        return SearchRecord(name=name, **{**fields, **changes})

    @staticmethod
    def point(number: int, accuracy: float, memory: float, macs: float, **more: float) -> Candidate:
        values = {"accuracy": accuracy, "memory_bytes": memory, "macs": macs, **more}
        units = {"memory_bytes": "byte", "macs": "MAC", "file_bytes": "byte"}
        measurements = tuple(
            Measurement(name, value, "validation", value - 0.01, value + 0.01, 500)
            if name in METRICS
            else Measurement(name, value, unit=units.get(name, "1"))
            for name, value in values.items()
        )
        configuration = Configuration(channels={"group": number + 1}, weight_bits={"layer": 2 + number % 7})
        return Candidate("mine", number, configuration, measurements=measurements, seconds=0.5)

    @classmethod
    def trade_off(cls, count: int, start: int = 0) -> list[Candidate]:
        """Candidates around a trade-off: about half of them dominated."""
        draw = random.Random(start)
        found = []
        for number in range(start, start + count):
            memory = round(10 ** draw.uniform(4, 6))
            accuracy = 0.3 + 0.1 * math.log10(memory) + draw.uniform(-0.01, 0.01)
            more = {"file_bytes": memory + 300.0, "cross_entropy": round(1 - accuracy, 6)}
            found.append(cls.point(number, accuracy, memory, memory * draw.randint(9, 11), **more))
        return found

    @staticmethod
    def trials(store: FrontierStore, candidates: list[Candidate], name: str = "mine") -> list[Candidate]:
        entries = [(TrialRecord(each.number, {"bits": each.number}), each, None) for each in candidates]
        return store.record_many(name, [(t, dataclasses.replace(c, search=name), b) for t, c, b in entries])

    @classmethod
    def search(
        cls, store: FrontierStore, count: int = 40, name: str = "mine", **changes: Any
    ) -> SearchRecord:
        """A finished search of so many trials."""
        store.create_search(cls.record(name, **changes))
        if count:
            cls.trials(store, cls.trade_off(count), name)
            claims = (Claim("macs", 5.0, 5.0, unit="MAC"), Claim("accuracy", 0.9, None, "validation", 0.002))
            for candidate in (next(store.candidates(name)), store.frontier(name)[0]):
                assert candidate.id is not None
                store.add_verification(Verification(candidate.id, claims, {"latency_ms": "no"}, "1.0"))
            first = next(store.candidates(name)).id
            audit = AuditRecord(name, "classes", {"dense": {"accuracy": 0.95}}, None, {"models": 3}, "1.0")
            store.add_audits([audit, dataclasses.replace(audit, candidate=first)])
        store.set_hypervolume(name, 0.5, 2.5)
        store.set_state(name, "done", f"{count} trials")
        return store.search(name)


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
def file_store(tmp_path: Any) -> Iterator[FrontierStore]:
    """An empty store in a SQLite file: for what has nothing to do with the kind of database."""
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


Serving = Callable[..., AbstractContextManager[str]]


@contextmanager
def _serving(store: FrontierStore, registry: Registry = REGISTRY, **changes: Any) -> Iterator[str]:
    server = Server(store, registry, port=0, settings=Settings(**{"poll_seconds": 0.05, **changes}))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Serve a store on a free port for as long as a context lasts; keywords are those of `Settings`."""
    return _serving


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
        with _serving(opened) as url, httpx2.Client(base_url=url, timeout=30) as client:
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
