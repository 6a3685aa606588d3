"""Records to store, and a store in a real file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from leanfront.core.storage import FrontierStore, check
from leanfront.testing import records

NOBODY = 65534
KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """The maker of records."""
    return records


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """Address of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'leanfront.db'}"


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest) -> str:
    """Address of an empty database with our tables, once of each kind."""
    kind = {"sqlite": "empty_url", "postgresql": "postgresql_url"}[request.param]
    return str(request.getfixturevalue(kind))


@pytest.fixture
def empty_url(sqlite_template: Path, tmp_path: Path, file_url: str) -> str:
    """Address of a SQLite file with our tables and nothing in them: that of `file_url`."""
    shutil.copy(sqlite_template, tmp_path / "leanfront.db")
    return file_url


@pytest.fixture(params=KINDS)
def bare_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a database without any table, once of each kind; a SQLite file is not there yet."""
    if request.param == "sqlite":
        yield request.getfixturevalue("file_url")
        return
    with request.getfixturevalue("postgresql").database() as address:
        yield address


@pytest.fixture
def file_store(empty_url: str) -> Iterator[FrontierStore]:
    """An empty store in a SQLite file."""
    with FrontierStore(empty_url) as opened:
        yield opened


@pytest.fixture
def store(url: str) -> Iterator[FrontierStore]:
    """An empty store."""
    with FrontierStore(url) as opened:
        yield opened


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FrontierStore]:
    """One store for all examples of a module, once of each kind; each example takes a search of its own."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('shared') / 'all.db'}"
        else:
            template = request.getfixturevalue("postgresql_template")
            url = stack.enter_context(request.getfixturevalue("postgresql").database(template))
        with FrontierStore(url) as store:
            yield store
            # The command's own check agrees on everything the examples left behind.
            report = check(url)
            assert report.ok, report.problems


@pytest.fixture
def ordinary_folder() -> Iterator[Path]:
    """A folder of an ordinary user, who then runs the test: root may write to what is read-only."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() != 0:
            yield folder
            return
        os.chown(folder, NOBODY, -1)
        os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(0)
            folder.chmod(0o755)
