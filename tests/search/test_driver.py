"""The driver among evaluators that die, and when it is to stop."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from leanfront.core.compressors import Configuration
from leanfront.core.objectives import reference, resolve
from leanfront.core.search import (
    Driver,
    Front,
    Run,
    SamplerContext,
    SearchRecord,
    SpaceOptions,
    prepare,
)
from leanfront.core.search.evaluation import Evaluation, Evaluator
from leanfront.core.search.evaluator_spec import EvaluatorLostError
from leanfront.core.search.evaluators import LocalEvaluators
from leanfront.core.search.racing import Race
from leanfront.core.search.study import SearchStudy
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.errors import LeaseLostError

Make = Callable[..., Driver]
OBJECTIVES = ("accuracy", "memory", "macs")


@pytest.fixture
def store(tmp_path: Path) -> FrontierStore:
    return FrontierStore(f"sqlite:///{tmp_path}/search.db")


@pytest.fixture(scope="module")
def evaluator(tiny: Target) -> Evaluator:
    return Evaluator(tiny, prepare(tiny, SpaceOptions()).structure)


@pytest.fixture
def make(tiny: Target, store: FrontierStore) -> Make:
    """A driver of search `a`, created at the first call and gone on with at later ones."""
    prepared = prepare(tiny, SpaceOptions(), OBJECTIVES)
    objectives = resolve(OBJECTIVES)
    values = {"accuracy": 1.0, **prepared.dense_costs}

    def build(evaluators: Any, **options: Any) -> Driver:
        if not store.searches():
            limits = reference(objectives, 4, values)
            store.create_search(
                SearchRecord(
                    "a", "tiny", tiny.fingerprint, OBJECTIVES, limits, {"options": {}, "cheapest": {}}
                )
            )
        context = SamplerContext(prepared.space, objectives, costs=prepared.costs)
        study = SearchStudy(context, sampler_name="random", seed=0)
        trials = store.trials("a")
        study.rebuild(trials)
        front = Front(objectives, store.search("a").reference)
        for trial in trials:
            if trial.values is not None and not trial.duplicate:
                front.add(trial.values, trial.candidate)
        return Driver(
            store,
            "a",
            prepared,
            study,
            front,
            evaluators,
            trials=trials,
            run=Run(**{name: options.pop(name) for name in ("report", "stop", "keep") if name in options}),
            **options,
        )

    return build


class Mortal(LocalEvaluators):
    """Loses evaluations of the configurations that `fate` names, so often."""

    def __init__(
        self, evaluator: Evaluator, fate: Callable[[int], tuple[int, int]], capacity: int = 1
    ) -> None:
        super().__init__(evaluator)
        self.capacity = capacity
        self._fate = fate
        self._numbers: dict[str, int] = {}
        self.asked: Counter[int] = Counter()

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        number = self._numbers.setdefault(configuration.digest, len(self._numbers))
        self.asked[number] += 1
        losses, tries = self._fate(number)
        if self.asked[number] > losses:
            return super().submit(configuration, split, race)
        future: Future[Evaluation] = Future()
        future.set_exception(EvaluatorLostError("the process that evaluated it died", tries))
        return future


@pytest.mark.parametrize("capacity", [1, 3])
def test_what_is_lost_is_tried_again_three_times(
    make: Make, store: FrontierStore, evaluator: Evaluator, capacity: int
) -> None:
    fates = {2: (3, 1), 4: (4, 1), 6: (9, 0), 7: (1, 4)}
    evaluators = Mortal(evaluator, lambda number: fates.get(number, (0, 1)), capacity)
    driver = make(evaluators)
    driver.run(12)
    assert sorted(trial.number for trial in store.trials("a")) == list(range(12))
    assert not driver.stopped_early
    states = {c.number: (c.state, c.reason) for c in store.candidates("a", failed=True)}
    assert {number for number, (state, _) in states.items() if state == "failed"} == {4, 7}
    assert states[4][1] == "the process that evaluated it died, 4 times over (out of memory?)"
    assert {n: evaluators.asked[n] for n in (0, 2, 4, 6, 7)} == {0: 1, 2: 4, 4: 4, 6: 10, 7: 1}
    assert store.search("a").trials == 12


def test_a_finalist_that_cannot_be_measured_is_named(
    make: Make, store: FrontierStore, evaluator: Evaluator
) -> None:
    make(LocalEvaluators(evaluator)).run(12)
    members = store.frontier("a")
    assert len(members) > 2
    driver = make(Mortal(evaluator, lambda number: {0: (3, 1), 1: (4, 1)}.get(number, (0, 1)), 2))
    assert driver.finalists("test") == len(members) - 1
    (missing,) = [c for c in store.frontier("a") if c.value("accuracy", "test") is None]
    assert driver.unmeasured.keys() == {missing.id}
    assert "4 times over" in driver.unmeasured[missing.id or 0]
    assert not driver.stopped_early
    # The next run measures it.
    assert make(LocalEvaluators(evaluator)).finalists("test") == 1


def test_a_stopped_search_goes_on_like_one_that_was_not(
    make: Make, store: FrontierStore, evaluator: Evaluator
) -> None:
    asked = itertools.count()
    driver = make(LocalEvaluators(evaluator), stop=lambda: next(asked) > 10)
    driver.run(20)
    assert driver.stopped_early
    assert 0 < len(store.trials("a")) < 20
    assert driver.finalists("test") == 0
    again = make(LocalEvaluators(evaluator))
    again.run(20)
    assert not again.stopped_early
    trials = store.trials("a")
    assert [trial.number for trial in trials] == list(range(20))
    alone = SearchStudy(
        SamplerContext(again._space, resolve(OBJECTIVES)), sampler_name="random", seed=0
    )  # a random sampler draws by number alone
    assert [dict(trial.parameters) for trial in trials] == [alone.ask()[1] for _ in range(20)]


class Slow:
    """Threads that hold an evaluation back for so long, by its number."""

    def __init__(self, evaluator: Evaluator, seconds: Callable[[int], float]) -> None:
        self.capacity = 2
        self._evaluator = evaluator
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(self.capacity)
        self._lock = threading.Lock()
        self.submitted = 0
        self.over = threading.Event()

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        self.submitted += 1
        return self._threads.submit(self._evaluate, self.submitted - 1, configuration, split)

    def _evaluate(self, number: int, configuration: Configuration, split: str) -> Evaluation:
        self.over.wait(self._seconds(number))
        with self._lock:
            return self._evaluator.evaluate(configuration, split)

    def close(self) -> None:
        self.over.set()
        self._threads.shutdown()


@pytest.fixture
def slow(evaluator: Evaluator) -> Iterator[Callable[..., Slow]]:
    made: list[Slow] = []

    def build(seconds: Callable[[int], float]) -> Slow:
        made.append(Slow(evaluator, seconds))
        return made[-1]

    yield build
    for evaluators in made:
        evaluators.close()


def test_what_runs_may_finish_within_the_grace(
    make: Make, store: FrontierStore, slow: Callable[..., Slow]
) -> None:
    # The fourth finishes in time, the fifth does not.
    evaluators = slow(lambda number: {3: 1.0, 4: 1000.0}.get(number, 0.0))
    driver = make(evaluators, stop=lambda: evaluators.submitted == 5, grace=4.0)
    begin = time.monotonic()
    driver.run(50)
    assert 4 <= time.monotonic() - begin < 60
    assert driver.stopped_early
    assert [trial.number for trial in store.trials("a")] == [0, 1, 2, 3]
    assert driver.finalists("test") == 0


def test_stopping_interrupts_the_wait(make: Make, store: FrontierStore, slow: Callable[..., Slow]) -> None:
    stop = threading.Event()
    driver = make(slow(lambda number: 1000.0), stop=stop.is_set, grace=0.0)
    threading.Timer(0.3, stop.set).start()
    driver.run(5)
    assert driver.stopped_early
    assert store.trials("a") == []


def test_finalists_stop_too(make: Make, store: FrontierStore, evaluator: Evaluator) -> None:
    make(LocalEvaluators(evaluator)).run(12)
    members = len(store.frontier("a"))
    stop = threading.Event()
    driver = make(LocalEvaluators(evaluator), stop=stop.is_set, report=lambda progress: stop.set())
    assert driver.finalists("test") == 1 < members
    assert driver.stopped_early
    assert make(LocalEvaluators(evaluator)).finalists("test") == members - 1


def test_a_lost_lease_goes_through(
    make: Make, store: FrontierStore, slow: Callable[..., Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = store.record

    def refuse(search: str, trial: Any, candidate: Any, correct: bytes | None = None) -> Any:
        if trial.number == 2:
            raise LeaseLostError("another runner drives it")
        return record(search, trial, candidate, correct)

    monkeypatch.setattr(store, "record", refuse)
    evaluators = slow(lambda number: 0.0 if number <= 2 else 1000.0)
    with pytest.raises(LeaseLostError):
        make(evaluators).run(20)
    evaluators.close()
    assert {trial.number for trial in store.trials("a")} <= {0, 1, 3}
