"""Recoveries by workers: on both databases, cancelled, stopped and taken up again, fenced."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import leanfront
from leanfront.actions.shelved_files import ShelvedFiles
from leanfront.core import search as searching
from leanfront.core.compressors import Recovery
from leanfront.core.search import Candidate, SearchOptions
from leanfront.core.storage import FrontierStore, Job, check
from leanfront.core.storage.jobs import RECOVER, SEARCH
from leanfront.core.targets import Target, resolve
from leanfront.errors import LeaseLostError
from leanfront.locations import open_shelf
from leanfront.worker.runner import Runner
from leanfront.worker.settings import WorkerSettings
from tests.leanfront.runners import running, wait_for

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def target(tiny_file: Path) -> Target:
    return resolve(f"{tiny_file}:recoverable")


@pytest.fixture
def store(any_url: str, target: Target, tmp_path: Path) -> Iterator[FrontierStore]:
    """A database of either kind, with a finished search, `mine`."""
    leanfront.search(target, name="mine", trials=6, sampler="random", database=any_url)
    with FrontierStore(any_url) as opened:
        yield opened


sqlite = pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)
"""For tests of what does not depend on the kind of database."""


@pytest.fixture
def worst(store: FrontierStore) -> Candidate:
    return min(store.frontier("mine"), key=lambda candidate: candidate.accuracy or 0)


def queue(store: FrontierStore, candidate: Candidate, **parameters: object) -> Job:
    return store.jobs.queue(RECOVER, candidate.search, candidate=candidate.id, parameters=parameters)


def files_of(store: FrontierStore) -> ShelvedFiles:
    return ShelvedFiles(store, open_shelf(store))


def test_a_worker_recovers(store: FrontierStore, worst: Candidate, any_url: str, target: Target) -> None:
    """Stopped in the middle and taken up by another, it makes what Python makes by itself."""
    job = queue(store, worst, epochs=8, seed=0)
    assert queue(store, worst, epochs=8, seed=0).id == job.id
    checkpoint = files_of(store).checkpoint(worst, Recovery(epochs=8))
    runner, thread = running(store)
    wait_for(checkpoint.is_file, "a checkpoint")
    runner.stop()
    thread.join(60)
    assert not thread.is_alive()
    given = store.jobs.job(job.id)
    assert (given.state, given.lease_until, given.attempts) == ("queued", None, 0)
    assert checkpoint.is_file()
    assert store.recovered("mine") == []
    Runner(store, WorkerSettings(device="cpu")).run(once=True)
    done = store.jobs.job(job.id)
    (made,) = store.recovered("mine")
    assert done.state == "done"
    assert done.message is not None
    assert done.message.startswith(f"candidate {made.id} recovered from {worst.id}: accuracy ")
    assert not checkpoint.exists()
    assert check(any_url, open_shelf(store).folder).ok
    # The search itself is as it was.
    assert store.search("mine").state == "done"
    # Found, not trained again.
    job = queue(store, worst, epochs=8, seed=0)
    Runner(store, WorkerSettings(device="cpu")).run(once=True)
    assert "found, not trained again" in (store.jobs.job(job.id).message or "")
    other = f"sqlite:///{Path.cwd()}/other.db"
    result = leanfront.search(target, name="mine", trials=6, sampler="random", database=other)
    twin = next(c for c in result.frontier() if c.configuration == worst.configuration)
    alone = twin.recover(8, device="cpu")
    with FrontierStore(other) as own:
        assert files_of(own).packed(alone) == files_of(store).packed(made)


@sqlite
def test_cancelled_it_stops_and_keeps_what_it_learnt(store: FrontierStore, worst: Candidate) -> None:
    job = queue(store, worst, epochs=100_000, seed=0)
    checkpoint = files_of(store).checkpoint(worst, Recovery(epochs=100_000))
    _, thread = running(store)
    wait_for(checkpoint.is_file, "a checkpoint")
    store.jobs.cancel(job.id)
    thread.join(60)
    assert not thread.is_alive()
    assert store.jobs.job(job.id).state == "cancelled"
    assert store.recovered("mine") == []
    assert checkpoint.is_file()
    # With a time limit it ends by itself, and what was learnt before counts.
    timed = queue(store, worst, epochs=100_000, seed=0, minutes=1e-6)
    Runner(store, WorkerSettings(device="cpu")).run(once=True)
    done = store.jobs.job(timed.id)
    assert done.state == "done", done.message
    (made,) = store.recovered("mine")
    assert made.configuration.recovery[0]["steps"] >= 5
    assert not checkpoint.exists()


def test_a_late_worker_writes_nothing(
    store: FrontierStore, worst: Candidate, target: Target, any_url: str
) -> None:
    """Its lease is another's by the time it has learnt something."""
    shelf = open_shelf(store)
    files = set(shelf.folder)
    queue(store, worst, epochs=1, seed=0)
    claimed = store.jobs.claim("early", [RECOVER], seconds=0.01)
    assert claimed is not None
    time.sleep(0.05)
    assert store.jobs.claim("second", [RECOVER]) is not None
    late = store.under(claimed[1])
    recoverer = leanfront.SearchResult(late, "mine", target).recoverer("cpu")
    with pytest.raises(LeaseLostError, match="early does not hold job"):
        recoverer.recover(worst, Recovery(epochs=1))
    assert store.recovered("mine") == []
    assert set(shelf.folder) == files
    assert check(any_url, shelf.folder).ok


@sqlite
def test_what_a_worker_cannot_recover_is_failed_with_the_reason(
    store: FrontierStore, worst: Candidate
) -> None:
    for parameters, words in (
        ({"epochs": 0}, "epochs must be a whole number"),
        ({"epochs": 1, "minutes": -1}, "minutes must be a finite number above 0"),
        ({"epochs": 1, "colour": "red"}, "colour"),
    ):
        job = queue(store, worst, **parameters)
        Runner(store, WorkerSettings(device="cpu")).run(once=True)
        found = store.jobs.job(job.id)
        assert found.state == "failed"
        assert words in (found.message or "")


@sqlite
def test_a_search_that_recovers_is_given_back_and_taken_up(
    store: FrontierStore, any_url: str, tiny_file: Path
) -> None:
    for name in ("whole", "parted"):
        options = SearchOptions(trials=4, sampler="random", recover=4)
        store.create_search(searching.queued(name, f"{tiny_file}:recoverable", options))
    claimed = store.jobs.claim("nobody", [SEARCH])
    assert claimed is not None
    runner, thread = running(store)
    wait_for(lambda: len(store.recovered("parted")) == 1, "a recovered candidate")
    runner.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert store.search("parted").state == "queued"
    assert 0 < len(store.recovered("parted")) < 4
    store.jobs.give_back(claimed[1])
    assert Runner(store, WorkerSettings(device="cpu")).run(once=True) == 2
    whole, parted = (
        [(each.configuration.digest, each.state, each.accuracy) for each in store.recovered(name)]
        for name in ("whole", "parted")
    )
    assert whole == parted
    assert store.search("whole").message == store.search("parted").message
    assert "candidates recovered" in (store.search("whole").message or "")
    assert check(any_url, open_shelf(store).folder).ok


@pytest.mark.slow
@sqlite
def test_sigterm_gives_the_job_back(
    store: FrontierStore, worst: Candidate, any_url: str, start: Start, tiny_file: Path
) -> None:
    job = queue(store, worst, epochs=100_000, seed=0)
    checkpoint = files_of(store).checkpoint(worst, Recovery(epochs=100_000))
    process = start("worker", "--database", any_url, "--lease", "2", "--device", "cpu")
    wait_for(checkpoint.is_file, "a checkpoint")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert store.jobs.job(job.id).state == "queued"
    assert store.recovered("mine") == []
    assert checkpoint.is_file()
