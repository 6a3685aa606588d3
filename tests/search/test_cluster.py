"""Searches on a real Dask cluster: a scheduler and workers that are processes of their own, some of them killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.objectives import minimisation, nondominated, resolve
from leanfront.core.search import Place, Progress, Run, SearchOptions, start
from leanfront.core.search.cluster import ClusterEvaluators, place
from leanfront.core.search.driver import objective_values
from leanfront.core.search.evaluator_spec import EvaluatorLostError, EvaluatorSpec, spec_of
from leanfront.core.storage import FrontierStore, check
from leanfront.core.targets import Target
from leanfront.core.targets import resolve as resolve_target
from leanfront.errors import EvaluationError, UsageError

ROOT = Path(__file__).resolve().parents[2]
MILD = Configuration(weight_bits={"conv1": 6})


class Cluster:
    """Processes of a cluster on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs = 0
        self._started: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)
        )
        until(file.is_file)
        until(lambda: b'"address"' in file.read_bytes())
        self.address = file.read_text().partition('"address": "')[2].partition('"')[0]
        self.workers: list[subprocess.Popen[bytes]] = []

    def add_workers(self, count: int) -> None:
        """Start workers and wait for them."""
        logs = [self._folder / f"{self._logs + 1 + place}.log" for place in range(count)]
        for _ in logs:
            self.workers.append(self._start("worker", self.address, "--nthreads", "1", "--no-nanny"))
        until(lambda: all(b"Registered to" in log.read_bytes() for log in logs))

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        self._logs += 1
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DASK_TEMPORARY_DIRECTORY": str(self._folder),
            # One death is enough to see what becomes of an evaluation that kills.
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0" if kind == "scheduler" else "3",
        }
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options, "--no-dashboard"]
        with (self._folder / f"{self._logs}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


@pytest.fixture
def tiny_spec(tiny: Target) -> EvaluatorSpec:
    return spec_of(tiny, derive(tiny.model, tiny.example_input), "auto", 64, 1)


@pytest.mark.slow
def test_a_search_outlives_a_killed_worker(cluster: Cluster, tiny: Target, tmp_path: Path) -> None:
    cluster.add_workers(2)
    kept = cluster.workers[1]

    def report(progress: Progress) -> None:
        if progress.trials == 10:
            cluster.workers[0].kill()

    with FrontierStore(f"sqlite:///{tmp_path}/search.db") as store:
        options = SearchOptions(trials=40, sampler="random")
        record = start(tiny, store, "a", options, Run(place=Place(cluster=cluster.address), report=report))
        assert (record.state, record.trials) == ("done", 40)
        assert cluster.workers[0].wait() < 0
        assert kept.poll() is None
        assert sorted(trial.number for trial in store.trials("a")) == list(range(40))
        candidates = list(store.candidates("a", failed=True))
        assert not [c.reason for c in candidates if c.state == "failed"]
        complete = [c for c in candidates if c.state == "complete"]
        objectives = resolve(record.objectives)
        points = [minimisation(objectives, objective_values(c, objectives) or ()) for c in complete]
        mask = nondominated(np.asarray(points))
        front = {c.id for c, keep in zip(complete, mask, strict=True) if keep}
        assert front == {c.id for c in store.frontier("a")}
        assert all(c.value("accuracy", "test") is not None for c in store.frontier("a"))
        assert check(store.url).ok


@pytest.mark.slow
def test_what_the_cluster_loses_is_told_apart(
    cluster: Cluster,
    tiny: Target,
    tiny_file: Path,
    tiny_spec: EvaluatorSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.warns(RuntimeWarning, match="has no workers yet"):
        evaluators = ClusterEvaluators(tiny_spec, cluster.address, timeout=2.0)
    assert evaluators.capacity == 1
    # It waits for workers.
    waiting = evaluators.submit(MILD, "validation")
    cluster.add_workers(2)
    first = waiting.result()
    assert first.reason is None
    until(lambda: evaluators.capacity == 2)
    assert "no 'nowhere' split" in (evaluators.submit(MILD, "nowhere").result().reason or "")

    monkeypatch.setenv("TINY_DRIVER", str(os.getpid()))
    deadly = resolve_target(f"{tiny_file}:dies")
    other = ClusterEvaluators(
        spec_of(deadly, derive(deadly.model, deadly.example_input), "cpu", 64, 1), cluster.address
    )
    error = other.submit(Configuration(channels={"conv1": 4}), "validation").exception()
    assert isinstance(error, EvaluatorLostError)
    assert (str(error), error.tries) == ("the worker process that evaluated it died", 1)
    other.close()
    until(lambda: evaluators.capacity == 1)
    assert evaluators.submit(MILD, "validation").result().measurements == first.measurements

    for worker in cluster.workers:
        worker.kill()
    lost = evaluators.submit(MILD, "validation")
    cluster.scheduler.kill()
    assert isinstance(lost.exception(), EvaluatorLostError)
    until(lambda: evaluators._client.status == "closed")
    with pytest.raises(EvaluationError, match=f"no scheduler answers at {cluster.address} within 2 s"):
        evaluators.submit(MILD, "validation")
    evaluators.close()


def test_where_no_scheduler_is(tiny_spec: EvaluatorSpec) -> None:
    with pytest.raises(EvaluationError, match=r"no scheduler answers at tcp://127.0.0.1:9 within 0.5 s"):
        ClusterEvaluators(tiny_spec, "tcp://127.0.0.1:9", timeout=0.5)


def test_what_is_no_address(tiny_spec: EvaluatorSpec) -> None:
    with pytest.raises(UsageError, match="is no address of a scheduler"):
        ClusterEvaluators(tiny_spec, "nonsense://127.0.0.1:9", timeout=0.5)


def test_without_dask(tiny_spec: EvaluatorSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'leanfront\[dask\]'"):
        ClusterEvaluators(tiny_spec, "tcp://127.0.0.1:9")


def test_nothing_imports_dask_before_it_is_asked_for() -> None:
    code = "import sys, leanfront.core.search.lifecycle; sys.exit('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_devices_are_shared_out_by_machine() -> None:
    workers = ["tcp://10.0.0.1:40002", "tcp://10.0.0.2:40001", "tcp://10.0.0.1:40001", "tcp://10.0.0.2:9"]
    assert [place(worker, workers) for worker in workers] == [1, 0, 0, 1]
