"""Searches whose candidates race."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.objectives import minimisation, nondominated, resolve
from leanfront.core.search import Front, Place, Progress, Run, SearchOptions, start
from leanfront.core.search import resume as resume_search
from leanfront.core.search.driver import objective_values
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.storage import FrontierStore, check
from leanfront.core.targets import Target

# Plain rounding: a race needs candidates that are much worse than others.
OPTIONS = SearchOptions(trials=60, sampler="random", criterion="l1", method="rounding")


@pytest.fixture(scope="module")
def store(wide: Target, tmp_path_factory: pytest.TempPathFactory) -> FrontierStore:
    """Two searches of the same configurations: `raced` and `whole`."""
    store = FrontierStore(f"sqlite:///{tmp_path_factory.mktemp('races')}/search.db")
    start(wide, store, "raced", OPTIONS)
    start(wide, store, "whole", dataclasses.replace(OPTIONS, false_elimination=0.0))
    return store


def _story(store: FrontierStore, name: str) -> list[tuple[object, ...]]:
    digests = {c.id: c.configuration.digest for c in store.candidates(name, failed=True)}
    return [
        (t.number, dict(t.parameters), dict(t.attributes), digests[t.candidate], t.values, t.stopped)
        for t in store.trials(name)
    ]


def test_hopeless_candidates_are_stopped_early(store: FrontierStore) -> None:
    candidates = list(store.candidates("raced", failed=True))
    stopped = {c.id: c for c in candidates if c.state == "stopped"}
    assert len(stopped) > len(candidates) / 3
    seen = []
    for candidate in stopped.values():
        accuracy = candidate.measurement("accuracy")
        assert accuracy is not None
        assert accuracy.count is not None
        seen.append(accuracy.count)
        assert (candidate.reason or "").startswith(
            f"stopped after {accuracy.count:,} of 2,000 samples: cannot beat"
        )
        assert candidate.value("accuracy", "test") is None
    assert np.median(seen) <= 512
    assert f"{len(stopped)} candidates stopped early" in (store.search("raced").message or "")
    assert [t.stopped for t in store.trials("raced")] == [
        t.candidate in stopped for t in store.trials("raced")
    ]
    assert check(store.url).ok


def test_stopped_candidates_are_no_answers(store: FrontierStore) -> None:
    complete = list(store.candidates("raced"))
    assert {c.state for c in complete} == {"complete"}
    assert {c.measurement("accuracy").count for c in complete} == {2000}  # type: ignore[union-attr]
    objectives = resolve(store.search("raced").objectives)
    points = np.asarray([minimisation(objectives, objective_values(c, objectives) or ()) for c in complete])
    front = {c.id for c, keep in zip(complete, nondominated(points), strict=True) if keep}
    assert front == {c.id for c in store.frontier("raced")} == set(store.correctness("raced"))


def test_few_of_the_stopped_are_better_than_their_incumbents(store: FrontierStore) -> None:
    whole = {c.configuration.digest: c for c in store.candidates("whole")}
    candidates = {c.id: c for c in store.candidates("raced", failed=True)}
    errors, stopped = 0, 0
    for candidate in candidates.values():
        if candidate.state == "stopped":
            rival = candidates[int((candidate.reason or "").split("candidate ")[1].split(",")[0])]
            assert (rival.memory_bytes or 0) <= (candidate.memory_bytes or 0)
            assert (rival.macs or 0) <= (candidate.macs or 0)
            assert (candidate.accuracy or 0) < (rival.accuracy or 0)
            stopped += 1
            errors += (whole[candidate.configuration.digest].accuracy or 0) > (rival.accuracy or 0)
    assert errors <= 0.05 * stopped + 1


def test_a_search_with_races_finds_what_one_without_finds(store: FrontierStore) -> None:
    raced = {c.configuration.digest: c for c in store.candidates("raced", failed=True)}
    whole = {c.configuration.digest: c for c in store.candidates("whole", failed=True)}
    # A random sampler draws by trial number alone, so both try the same configurations.
    assert raced.keys() == whole.keys()
    assert {c.state for c in whole.values()} == {"complete"}
    assert store.correctness("whole") == {}
    for digest, candidate in raced.items():
        if candidate.state == "complete":
            assert candidate.accuracy == whole[digest].accuracy
    assert store.search("raced").hypervolume >= 0.99 * store.search("whole").hypervolume


def test_the_study_is_told_estimates_that_are_off_the_front(store: FrontierStore) -> None:
    trials = [t for t in store.trials("raced") if not t.duplicate]
    objectives = resolve(store.search("raced").objectives)
    assert all(t.values is not None for t in trials)
    points = np.asarray([minimisation(objectives, t.values or ()) for t in trials])
    for trial, keep in zip(trials, nondominated(points), strict=True):
        assert not (trial.stopped and keep)


class _StopAt:
    """A progress report that behaves like Ctrl-C after some trials."""

    def __init__(self, trials: int) -> None:
        self.trials = trials

    def __call__(self, progress: Progress) -> None:
        if progress.trials == self.trials:
            raise KeyboardInterrupt


def test_an_interrupted_search_races_on_alike(wide: Target, tmp_path: Path) -> None:
    options = SearchOptions(trials=50, sampler="nsga2", false_elimination=0.1)
    with FrontierStore(f"sqlite:///{tmp_path}/search.db") as store:
        reports: list[Progress] = []
        start(wide, store, "one", options, Run(report=reports.append))
        with pytest.raises(KeyboardInterrupt):
            start(wide, store, "two", options, Run(report=_StopAt(31)))
        assert sum(t.stopped for t in store.trials("two")) > 0
        record = resume_search(wide, store, "two")
        assert record.options.false_elimination == 0.1
        assert _story(store, "two") == _story(store, "one")
        assert store.correctness("two").keys() == {c.id for c in store.frontier("two")}
        assert record.message == store.search("one").message
        stopped = [c for c in store.candidates("one", failed=True) if c.state == "stopped"]
        assert reports[-1].stopped == len(stopped)


def test_no_races_where_more_than_accuracy_is_evaluated(wide: Target, tmp_path: Path) -> None:
    with FrontierStore(f"sqlite:///{tmp_path}/search.db") as store:
        for name, objectives in (
            ("a", ("accuracy", "cross_entropy", "memory")),
            ("b", ("cross_entropy", "macs")),
        ):
            start(wide, store, name, SearchOptions(trials=25, sampler="random", objectives=objectives))
            assert {c.state for c in store.candidates(name, failed=True)} == {"complete"}


@pytest.mark.slow
def test_races_in_a_pool(tiny_file: Path, tiny: Target, tmp_path: Path) -> None:
    with FrontierStore(f"sqlite:///{tmp_path}/search.db") as store:
        options = SearchOptions(trials=40, sampler="random", false_elimination=0.2)
        start(tiny, store, "pool", options, Run(place=Place(workers=2)))
        stopped = [c for c in store.candidates("pool", failed=True) if c.state == "stopped"]
        assert stopped
        evaluator = Evaluator(tiny, derive(tiny.model, tiny.example_input))
        for member in store.frontier("pool"):
            evaluation = evaluator.evaluate(member.configuration)
            assert evaluation.correct == store.correctness("pool")[member.id or 0]


def test_the_incumbent_is_the_most_accurate_that_costs_no_more() -> None:
    front = Front(resolve("accuracy,memory,macs"), {"accuracy": 0.1, "memory": 100.0, "macs": 100.0})

    def rival(memory: float, macs: float) -> int | None:
        found = front.incumbent({"memory_bytes": memory, "macs": macs})
        return None if found is None else found.candidate

    assert rival(50, 50) is None
    assert front.add((0.5, 10, 10), 1, b"a")
    assert front.add((0.6, 20, 10), 2, b"b")
    assert front.add((0.7, 10, 30), 3, b"c")
    assert not front.add((0.4, 50, 50), 4, b"d")
    assert rival(9, 99) is rival(99, 9) is None
    assert (rival(10, 10), rival(19, 29), rival(20, 29), rival(19, 30), rival(20, 30)) == (1, 1, 2, 3, 3)
    # A member of before there were races is nobody to race against; the next best is.
    assert front.add((0.8, 30, 30), 5)
    assert rival(30, 30) == 3
    assert front.add((0.9, 10, 10), 6, b"e")
    assert len(front) == 1
    assert rival(30, 30) == 6
