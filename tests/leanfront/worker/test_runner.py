"""Runners and queued searches: the real worker command, real signals, both databases."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import leanfront
from leanfront.core import search as searching
from leanfront.core.search import SearchOptions
from leanfront.core.storage import FrontierStore, check, runner_name
from leanfront.core.storage.jobs import ATTEMPTS, SEARCH
from leanfront.core.targets import Target
from leanfront.core.targets.registry import Registry
from leanfront.errors import BusyError, LeaseLostError, UsageError
from leanfront.worker.handlers import HANDLERS
from leanfront.worker.runner import Runner
from leanfront.worker.settings import WorkerSettings

Start = Callable[..., "subprocess.Popen[str]"]
LEASE = 2.0
sqlite = pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)
"""Runners that are killed and frozen on PostgreSQL: `tests/leanfront/test_chaos.py`."""


@pytest.fixture
def store(any_url: str) -> Iterator[FrontierStore]:
    """A store on an empty database of either kind."""
    with FrontierStore(any_url) as opened:
        yield opened


def queue(store: FrontierStore, name: str, target: str, trials: int = 12, **options: object) -> None:
    asked = SearchOptions(trials=trials, **options)  # type: ignore[arg-type]
    store.create_search(searching.queued(name, target, asked))


def story(store: FrontierStore, name: str) -> list[tuple[object, ...]]:
    digests = {c.id: c.configuration.digest for c in store.candidates(name, failed=True)}
    return [
        (t.number, dict(t.parameters), digests[t.candidate], t.values, t.duplicate)
        for t in store.trials(name)
    ]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.02)


def worker(start: Start, url: str, *options: str, lease: float = LEASE) -> subprocess.Popen[str]:
    return start("worker", "--database", url, "--lease", str(lease), "--device", "cpu", *options)


def test_a_queued_search_is_driven_like_one_of_the_command_line(
    store: FrontierStore, any_url: str, tiny: Target, tiny_file: Path
) -> None:
    queue(store, "queued", f"{tiny_file}:target", 15)
    assert store.search("queued").state == "queued"
    assert not store.search("queued").prepared
    assert Runner(store, WorkerSettings()).run(once=True) == 1
    record = store.search("queued")
    assert (record.state, record.trials) == ("done", 15)
    assert record.fingerprint == tiny.fingerprint
    assert record.artifact is not None
    leanfront.search(tiny, name="own", trials=15, database=any_url)
    assert story(store, "queued") == story(store, "own")
    assert all(c.value("accuracy", "test") is not None for c in store.frontier("queued"))
    assert check(any_url).ok
    job = store.jobs.of_search("queued")
    assert (job.state, job.lease_until, job.local) == ("done", None, False)
    assert store.jobs.runners() == []


def test_a_runner_takes_what_is_queued_in_order_and_leaves_local_searches(
    store: FrontierStore, tiny: Target, tiny_file: Path, any_url: str
) -> None:
    local = replace(
        searching.queued("local", f"{tiny_file}:target", SearchOptions(trials=3)), state="running"
    )
    store.create_search(local)
    for name in ("first", "second"):
        queue(store, name, f"{tiny_file}:target", 3)
    assert Runner(store, WorkerSettings()).run(once=True) == 2
    assert [store.search(n).state for n in ("local", "first", "second")] == ["running", "done", "done"]
    # Whoever made the local one may go on with it.
    leanfront.resume("local", database=any_url)
    assert store.search("local").state == "done"


def test_targets_are_looked_up_by_the_operators_name(store: FrontierStore, tiny_file: Path) -> None:
    record = searching.queued("a", "/nowhere.py:target", SearchOptions(trials=2), registered="small")
    store.create_search(record)
    registry = Registry.of([f"small={tiny_file}:target"])
    Runner(store, WorkerSettings(registry=registry)).run(once=True)
    assert store.search("a").state == "done"
    assert store.search("a").registered == "small"


@pytest.mark.parametrize(
    ("target", "words"),
    [("nowhere.py:target", "nowhere.py"), ("python:Net", "Python object"), ("digitz", "digitz")],
)
def test_a_search_that_cannot_begin_is_failed_with_the_reason(
    store: FrontierStore, target: str, words: str
) -> None:
    queue(store, "a", target)
    Runner(store, WorkerSettings()).run(once=True)
    record = store.search("a")
    assert record.state == "failed"
    assert words in (record.message or "")
    assert store.jobs.claim("anybody", [SEARCH]) is None


def test_a_handler_that_raises_fails_its_job_and_the_runner_goes_on(
    store: FrontierStore, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: object) -> str:
        raise ZeroDivisionError("one over nothing")

    monkeypatch.setitem(HANDLERS, "odd", breaks)
    queue(store, "a", f"{tiny_file}:target", 2)
    odd = store.jobs.queue("odd", "a")
    assert Runner(store, WorkerSettings()).run(once=True) == 2
    assert store.search("a").state == "done"
    job = store.jobs.job(odd.id)
    assert (job.state, job.message) == ("failed", "ZeroDivisionError: one over nothing")


def test_cancel_a_queued_and_a_running_search(store: FrontierStore, tiny_file: Path) -> None:
    queue(store, "waiting", f"{tiny_file}:target")
    store.jobs.cancel_search("waiting")
    assert store.search("waiting").state == "cancelled"
    queue(store, "running", f"{tiny_file}:target", 100_000)
    runner = Runner(store, WorkerSettings(lease=LEASE))
    thread = threading.Thread(target=runner.run, kwargs={"once": True})
    thread.start()
    wait_for(lambda: store.search("running").trials >= 3, "three trials")
    assert store.jobs.cancel_search("running").to_json()["state"] in ("cancelling", "cancelled")
    thread.join(60)
    assert not thread.is_alive()
    record = store.search("running")
    assert record.state == "cancelled"
    assert 3 <= record.trials < 100_000
    assert store.jobs.of_search("running").lease_until is None
    # Queued again it goes on from its trials.
    store.jobs.queue(SEARCH, "waiting")
    assert Runner(store, WorkerSettings()).run(once=True) == 1
    assert (store.search("waiting").state, store.search("waiting").trials) == ("done", 12)


def test_a_search_is_driven_by_one_process_only(
    store: FrontierStore, tiny_file: Path, any_url: str, start: Start
) -> None:
    queue(store, "a", f"{tiny_file}:target", 100_000)
    process = worker(start, any_url)
    wait_for(lambda: store.search("a").trials >= 2, "two trials")
    with pytest.raises(BusyError, match="is being driven by"):
        leanfront.resume("a", database=any_url)
    with pytest.raises(BusyError):
        store.delete_search("a")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    # It has given the search back, and is gone.
    assert store.search("a").state == "queued"
    assert store.jobs.runners() == []
    trials = store.search("a").trials
    leanfront.resume("a", database=any_url, trials=trials + 2)
    assert store.search("a").state == "done"
    store.delete_search("a")
    assert store.searches() == []
    assert check(any_url).ok


@sqlite
@pytest.mark.slow
def test_a_killed_and_a_frozen_runner_are_replaced(
    store: FrontierStore, tiny: Target, tiny_file: Path, any_url: str, start: Start
) -> None:
    """As if nothing had happened: the trials of an undisturbed run, each counted once."""
    queue(store, "a", f"{tiny_file}:target", 60)
    killed = worker(start, any_url)
    wait_for(lambda: store.search("a").trials >= 15, "15 trials")
    killed.kill()
    killed.communicate()
    frozen = worker(start, any_url)
    seen = store.search("a").trials
    wait_for(lambda: store.search("a").trials >= seen + 15, "15 trials after a kill")
    frozen.send_signal(signal.SIGSTOP)
    stopped_at = store.search("a").trials
    # Not with --once: it may look before the lease has ended, and would find nothing to do.
    third = worker(start, any_url)
    wait_for(lambda: store.search("a").trials >= stopped_at + 10, "ten trials after a freeze")
    # It wakes up beside its successor: what it has in hand it must throw away.
    frozen.send_signal(signal.SIGCONT)
    wait_for(lambda: store.search("a").state == "done", "the end of the search")
    third.send_signal(signal.SIGTERM)
    _, errors = third.communicate(timeout=60)
    assert third.returncode == 0, errors
    frozen.send_signal(signal.SIGTERM)
    _, errors = frozen.communicate(timeout=60)
    assert frozen.returncode == 0, errors
    assert "does not hold job" in errors or "left after" in errors
    assert store.search("a").state == "done"
    leanfront.search(tiny, name="whole", trials=60, database=any_url)
    assert story(store, "a") == story(store, "whole")
    report = check(any_url)
    assert report.ok, report.problems


def test_a_late_driver_writes_nothing(store: FrontierStore, tiny_file: Path) -> None:
    """The lease is taken by another between two trials; the driver hears of it when it writes."""
    queue(store, "a", f"{tiny_file}:target", 50)
    claimed = store.jobs.claim("early", [SEARCH], seconds=0.01)
    assert claimed is not None
    _, lease = claimed
    late = store.under(lease)
    time.sleep(0.05)
    second = store.jobs.claim("second", [SEARCH])
    assert second is not None
    target = leanfront.resolve(f"{tiny_file}:target")
    with pytest.raises(LeaseLostError, match="early does not hold job"):
        searching.resume(target, late, "a")
    assert store.search("a").trials == 0
    assert not store.search("a").prepared
    assert store.search("a").state == "running"
    searching.resume(target, store.under(second[1]), "a", trials=3)
    assert (store.search("a").state, store.search("a").trials) == ("done", 3)


@sqlite
@pytest.mark.slow
def test_a_search_that_kills_its_runners_is_given_up(
    store: FrontierStore, tmp_path: Path, any_url: str, start: Start
) -> None:
    source = tmp_path / "deadly.py"
    source.write_text("import os\n\ndef target():\n    os._exit(7)\n")
    queue(store, "deadly", f"{source}:target")
    for _ in range(ATTEMPTS):
        process = worker(start, any_url, "--once", lease=1.0)
        process.communicate(timeout=60)
        assert process.returncode == 7
        time.sleep(1.1)
    process = worker(start, any_url, "--once")
    process.communicate(timeout=60)
    assert process.returncode == 0
    record = store.search("deadly")
    assert record.state == "failed"
    assert f"given up after {ATTEMPTS} attempts" in (record.message or "")


def test_the_artifact_folder_cannot_be_written(
    store: FrontierStore, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    monkeypatch.setenv("LEANFRONT_ARTIFACTS", str(blocked))
    monkeypatch.setattr("leanfront.worker.runner.POLL", 0.01)
    queue(store, "a", f"{tiny_file}:target", 2)
    Runner(store, WorkerSettings()).run(once=True)
    record = store.search("a")
    assert record.state == "failed"
    assert "blocked" in (record.message or "")
    assert record.trials == 0


def test_wrong_places_are_refused_at_the_door() -> None:
    with pytest.raises(UsageError, match="workers"):
        WorkerSettings(workers=0)
    with pytest.raises(UsageError, match="device"):
        WorkerSettings(device="abacus")


def test_a_runners_name_says_where_it_is() -> None:
    host, process, _ = runner_name().rsplit(":", 2)
    assert host
    assert process.isdigit()
    assert runner_name() == runner_name()
