"""A finished search to ask, and the command line in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import leanfront
from leanfront.core.targets import Target
from tests.forked import Forks
from tests.once import once


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Databases, artifacts and plots land in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEANFRONT_DATABASE", raising=False)
    monkeypatch.delenv("LEANFRONT_ARTIFACTS", raising=False)


@pytest.fixture(scope="session")
def finished(tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database with one search, `done`, of 60 trials."""

    def make(folder: Path) -> None:
        leanfront.search(tiny, name="done", trials=60, database=f"sqlite:///{folder}/leanfront.db")

    return f"sqlite:///{once(tmp_path_factory, 'finished', make)}/leanfront.db"


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(forks: Forks) -> Iterator[Start]:
    """Start `leanfront` with arguments; whatever still runs is killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = forks.start(
            ["leanfront", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database of either kind, with nothing in it, this test's own."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "any.db")
    return f"sqlite:///{tmp_path}/any.db"
