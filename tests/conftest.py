"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target, resolve
from tests.forked import Forks

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
POSTGRES = Path(__file__).with_name("postgres.py")

LONGEST = ("test_docs.py", "test_chaos.py", "test_assets.py", "test_interruptions.py", "test_runner.py")
"""Files that take minutes and are one process's work each: begun first, the others fill the rest of the cores.

`test_assets.py` makes what all files of the dashboard show, which would wait for it if they were begun together.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--thorough`: what is drawn at random is drawn more often."""
    parser.addoption(
        "--thorough",
        action="store_true",
        help="ten times the examples of hypothesis and schemathesis, three times the kills: scripts/test --thorough",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis draws ten times as many examples where it may, and where a test counts in its default."""
    if config.getoption("thorough"):
        settings.register_profile("thorough", max_examples=10 * settings.default.max_examples)
        settings.load_profile("thorough")


@pytest.fixture(scope="session")
def thorough(pytestconfig: pytest.Config) -> bool:
    """Whether what is drawn at random is drawn more often than in an ordinary run."""
    return bool(pytestconfig.getoption("thorough"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; the order is the same in all processes."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trained weights of the tests never enter the user's cache, and stale ones of it never enter the tests.

    The processes of one run share a folder: `digits` is trained once.
    """
    before = os.environ.get("LEANFRONT_CACHE")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "leanfront-cache"
    folder.mkdir(exist_ok=True)
    os.environ["LEANFRONT_CACHE"] = str(folder)
    yield
    if before is None:
        del os.environ["LEANFRONT_CACHE"]
    else:
        os.environ["LEANFRONT_CACHE"] = before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data that tests and benchmarks share; skips where it is absent."""
    if not (SHARED_DATA / "cifar10_jpeg.zip").is_file():
        pytest.skip("the shared data (../shared/data, see its README.md) are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """What starts commands: for most of them, importing torch would take longer than what they do.

    `leanfront/test_weight.py`, `leanfront/http/test_server.py` and `test_docs.py` start the real command.
    """
    with Forks() as started:
        yield started


@pytest.fixture(scope="session")
def digits() -> Target:
    """The built-in target `digits`, trained once a session."""
    return resolve("digits")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests that draw from the global generator do so from the same state whatever ran before."""
    torch.manual_seed(0)


TINY = Path(__file__).with_name("tiny.py")
"""A file with small targets: see its functions."""


@pytest.fixture(scope="session")
def tiny() -> Target:
    """A three-layer network on made-up images, from a file, so that other processes can load it too."""
    return resolve(f"{TINY}:target")


@pytest.fixture(scope="session")
def tiny_file() -> Path:
    """Path of the file that `tiny` comes from, with targets that die and break."""
    return TINY


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with our tables, to be copied: a tenth of a second less than to make them."""
    path = tmp_path_factory.mktemp("template") / "empty.db"
    FrontierStore(f"sqlite:///{path}").close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return path


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    """A running PostgreSQL server, see `postgres.py`; `create` and `drop` make databases in it.

    Nothing is skipped where there is none: what is not tested on PostgreSQL does not work there.
    """
    specification = importlib.util.spec_from_file_location("postgres", POSTGRES)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    # Without waiting for the disk: a crash of the machine would lose data, one of the server does not. Another
    # time zone than UTC shows where one is taken for granted.
    settings = {"fsync": "off", "full_page_writes": "off", "jit": "off", "timezone": "Asia/Kolkata"}
    with module.PostgresServer(**settings) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_template(postgresql: Any) -> str:
    """A database of `postgresql` with our tables, for others to be copied from."""
    name: str = postgresql.create()
    FrontierStore(postgresql.url(name)).close()
    return name


@pytest.fixture
def postgresql_url(postgresql: Any, postgresql_template: str) -> Iterator[str]:
    """The address of a PostgreSQL database with our tables and nothing in them, this test's own."""
    with postgresql.database(postgresql_template) as url:
        yield url
