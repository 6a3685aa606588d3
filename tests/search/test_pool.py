"""Pool processes that are killed, stopped, or never come up."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.objectives import minimisation, nondominated, resolve
from leanfront.core.search import Place, Progress, Run, SearchOptions, lifecycle, start
from leanfront.core.search import pool as pools
from leanfront.core.search.driver import objective_values
from leanfront.core.search.evaluator_spec import EvaluatorLostError, Source, spec_of
from leanfront.core.search.pool import PoolEvaluators
from leanfront.core.storage import FrontierStore, check
from leanfront.core.targets import Target
from leanfront.core.targets import resolve as resolve_target
from leanfront.errors import EvaluationError, TargetError

MILD = Configuration(weight_bits={"conv1": 6})
pytestmark = pytest.mark.slow


@pytest.fixture
def make() -> Iterator[Callable[..., PoolEvaluators]]:
    made: list[PoolEvaluators] = []

    def build(target: Target, workers: int = 2) -> PoolEvaluators:
        structure = derive(target.model, target.example_input)
        made.append(PoolEvaluators(spec_of(target, structure, "cpu", 64, workers), workers))
        return made[-1]

    yield build
    for evaluators in made:
        evaluators.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(process: BaseProcess) -> bool:
    return process.exitcode is not None


def test_a_death_is_its_own_evaluations_alone(
    make: Callable[..., PoolEvaluators], tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_DRIVER", str(os.getpid()))
    evaluators = make(resolve_target(f"{tiny_file}:dies"))
    deadly = Configuration(channels={"conv1": 4})
    first, second = evaluators.submit(deadly, "validation"), evaluators.submit(MILD, "validation")
    assert second.result().reason is None
    error = first.exception()
    assert isinstance(error, EvaluatorLostError)
    assert (str(error), error.tries) == ("the process that evaluated it died (exit code 9)", 1)
    # Its successor is as good.
    again = [evaluators.submit(MILD, "validation") for _ in range(2)]
    assert [each.result().measurements for each in again] == [second.result().measurements] * 2


def test_what_dies_idle_or_at_the_start_is_no_ones_fault(
    make: Callable[..., PoolEvaluators], tiny: Target
) -> None:
    evaluators = make(tiny, 1)
    starting = evaluators.submit(MILD, "validation")
    os.kill(evaluators.processes[0].pid or 0, signal.SIGKILL)
    error = starting.exception()
    assert isinstance(error, EvaluatorLostError)
    assert (str(error), error.tries) == ("the process died before it could evaluate (killed by signal 9)", 0)
    assert evaluators.submit(MILD, "validation").result().reason is None
    (idle,) = evaluators.processes
    idle.kill()
    until(lambda: gone(idle) and bool(evaluators._processes[0]._executor._broken))  # type: ignore[union-attr]
    assert evaluators.submit(MILD, "validation").result().reason is None
    assert evaluators.processes != [idle]


def test_a_pool_that_never_comes_up_says_so(
    make: Callable[..., PoolEvaluators], tiny: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "STARTS", 2)
    evaluators = make(tiny, 1)
    for expected in (EvaluatorLostError, EvaluationError):
        future = evaluators.submit(MILD, "validation")
        evaluators.processes[0].kill()
        assert type(future.exception()) is expected
    assert "2 pool processes in a row died" in str(future.exception())


def test_stopped_processes_are_closed_too(
    make: Callable[..., PoolEvaluators], tiny: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "PATIENCE", 0.5)
    evaluators = make(tiny, 1)
    assert evaluators.submit(MILD, "validation").result().reason is None
    (process,) = evaluators.processes
    os.kill(process.pid or 0, signal.SIGSTOP)
    waiting = evaluators.submit(MILD, "validation")
    evaluators.close()
    # A stopped process is woken to die, of whichever signal it hears first.
    assert process.exitcode in (-signal.SIGTERM, -signal.SIGKILL)
    assert isinstance(waiting.exception(timeout=60), EvaluatorLostError)


def test_a_search_outlives_processes_killed_at_random(
    tiny: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, over and over, in trials and in the measurements on the test split."""
    pool: list[PoolEvaluators] = []

    class Watched(PoolEvaluators):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            pool.append(self)

    monkeypatch.setattr(lifecycle, "PoolEvaluators", Watched)
    over, kills = threading.Event(), 0
    begin: list[float] = []
    draw = random.Random(1)

    def paced(progress: Progress) -> None:
        """Not ahead of the deaths: one comes every twenty trials."""
        begin.append(time.monotonic())
        until(lambda: kills >= progress.trials // 20 or not killer.is_alive())

    def kill() -> None:
        nonlocal kills
        before = time.monotonic()
        until(lambda: bool(begin))
        # Some live long enough to evaluate, some do not.
        while not over.wait(draw.uniform(0.1, 2.0) * (begin[0] - before)):
            for process in pool[0].processes:
                if draw.random() < 0.6 and process.is_alive():
                    os.kill(process.pid or 0, signal.SIGKILL)
                    kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with FrontierStore(f"sqlite:///{tmp_path}/search.db") as store:
            record = start(
                tiny,
                store,
                "a",
                SearchOptions(trials=80, sampler="random"),
                Run(place=Place(workers=2), report=paced),
            )
            over.set()
            assert record.state == "done"
            trials = store.trials("a")
            assert sorted(trial.number for trial in trials) == list(range(80))
            candidates = list(store.candidates("a", failed=True))
            assert {c.state for c in candidates} <= {"complete", "stopped"}, [c.reason for c in candidates]
            objectives = resolve(record.objectives)
            complete = [c for c in candidates if c.state == "complete"]
            points = [minimisation(objectives, objective_values(c, objectives) or ()) for c in complete]
            mask = nondominated(np.asarray(points))
            assert {c.id for c, keep in zip(complete, mask, strict=True) if keep} == {
                c.id for c in store.frontier("a")
            }
            assert all(c.value("accuracy", "test") is not None for c in store.frontier("a"))
            assert check(store.url).ok
    finally:
        over.set()
        killer.join()
    assert kills >= 4


def test_a_process_that_makes_another_target_says_what_differs(tiny_file: Path) -> None:
    source = Source.of(resolve_target(f"{tiny_file}:target"))
    for function, said in (
        ("recoverable", r"the train split \(new\) differs"),
        ("breaks", "the structure of the model"),
    ):
        with pytest.raises(TargetError, match=f"came out different in another process: {said}"):
            replace(source, target=f"{tiny_file}:{function}").open()
    assert source.open().fingerprint == source.fingerprint
