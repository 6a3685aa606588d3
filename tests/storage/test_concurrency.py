"""Several processes on one file, and processes that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from leanfront.core import storage
from leanfront.core.storage import FrontierStore, check

WRITER = Path(__file__).with_name("writer.py")
ROOT = Path(storage.__file__).resolve().parents[1]


@contextmanager
def writer(url: str, first: int, count: int, keys: int) -> Iterator[subprocess.Popen[str]]:
    """A process that is ready to write, and waits for a line."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(WRITER), url, "mine", *map(str, (first, count, keys))]
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert out(process).readline() == "ready\n", process.communicate()[1]
        yield process
    finally:
        process.kill()
        process.communicate()


def out(process: subprocess.Popen[str]) -> IO[str]:
    return cast("IO[str]", process.stdout)


def start(process: subprocess.Popen[str]) -> None:
    into = cast("IO[str]", process.stdin)
    into.write("\n")
    into.flush()


def test_two_processes_write_one_file(store: FrontierStore, url: str, build: Any) -> None:
    store.create_search(build.search())
    with ExitStack() as stack:
        # Few keys: both often store the same configuration at the same time.
        writers = [stack.enter_context(writer(url, first, 60, 40)) for first in (0, 1000)]
        for process in writers:
            start(process)
        for process in writers:
            printed, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            assert len(printed.split()) == 60
    assert store.search("mine").trials == 120
    trials = store.trials("mine")
    assert [each.number for each in trials] == [*range(60), *range(1000, 1060)]
    candidates = list(store.candidates("mine"))
    assert len({each.configuration.digest for each in candidates}) == len(candidates)
    assert sum(not each.duplicate for each in trials) == len(candidates)
    report = check(url)
    assert report.ok, report.problems


def test_a_killed_writer_leaves_a_consistent_database(store: FrontierStore, url: str, build: Any) -> None:
    store.create_search(build.search())
    with writer(url, 0, 10**6, 10**6) as process:
        start(process)
        told = 0
        while told < 40:
            told = int(out(process).readline())
        process.send_signal(signal.SIGKILL)
        printed, _ = process.communicate()
    told = max([told, *(int(line) for line in printed.split())])
    trials = store.trials("mine")
    # All that it said is stored, and at most the one it was storing besides.
    assert len(trials) in (told + 1, told + 2)
    assert store.search("mine").trials == len(trials)
    report = check(url)
    assert report.ok, report.problems
    # The file goes on: no lock was left behind.
    made = store.record("mine", build.trial(len(trials)), build.point(10**7, 1.0, 0.5, 0.5))
    assert store.frontier("mine") == [made]
