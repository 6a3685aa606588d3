"""Answers to budget queries on metrics that not every candidate has: what is not known is never passed over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leanfront.core.compressors import Recovery
from leanfront.core.objectives import Budget, Measurement
from leanfront.core.storage import FrontierStore
from leanfront.core.storage.reading import NAMED
from leanfront.errors import UsageError

DENSE = tuple(Measurement(name, 0.5, "validation") for name in ("accuracy", "ece", "cross_entropy"))


def mce(value: float) -> Measurement:
    return Measurement("mce", value, "validation")


def fill(
    store: FrontierStore, build: Any, points: list[tuple[float, float, float | None]], name: str = "mine"
) -> list[int]:
    """Candidates of accuracy, bytes and mce; ids in order."""
    store.create_search(build.search(name, dense=DENSE))
    found = []
    for number, (accuracy, size, value) in enumerate(points):
        more = {} if value is None else {"mce": value}
        stored = store.record(name, build.trial(number), build.point(number, accuracy, size, size, **more))
        assert stored.id is not None
        found.append(stored.id)
    return found


def test_an_answer_names_what_could_be_a_better_one(store: FrontierStore, build: Any) -> None:
    best, known, worse, heavy = fill(
        store, build, [(0.9, 10, None), (0.8, 9, 1.1), (0.7, 8, None), (0.95, 99, None)]
    )
    answer = store.select("mine", Budget.of(max_memory=50, maximum={"mce": 1.2}))
    assert answer.feasible
    assert answer.candidate is not None
    assert answer.candidate.id == known
    # One is less accurate than the answer, and one too heavy, whatever its mce is.
    assert answer.unmeasured == (best,)
    assert answer.unmeasured_metrics == ("mce",)
    assert answer.to_json()["unmeasured"] == {"metrics": ["mce"], "candidates": [best]}
    # By other strategies any may be the better one.
    knee = store.select("mine", Budget.of(max_memory=50, maximum={"mce": 1.2}), strategy="knee")
    assert knee.unmeasured == (best, worse)
    assert store.select("mine", Budget({"mce": 1.2})).unmeasured == (heavy, best)
    assert store.select("mine", Budget({"memory": 50.0})).unmeasured == ()
    assert "unmeasured" not in store.select("mine", Budget({"memory": 50.0})).to_json()


def test_what_is_not_measured_never_passes(store: FrontierStore, build: Any) -> None:
    ids = fill(store, build, [(0.9, 10, None), (0.8, 9, None)])
    answer = store.select("mine", Budget({"mce": 5.0}))
    assert not answer.feasible
    assert answer.candidate is None
    assert answer.unmeasured == tuple(ids)
    # As soon as it is known, and as it is known.
    store.add_measurements(ids[0], [mce(6.0)])
    answer = store.select("mine", Budget({"mce": 5.0}))
    assert (answer.feasible, answer.unmeasured) == (False, (ids[1],))
    store.add_measurements(ids[1], [mce(4.0)])
    answer = store.select("mine", Budget({"mce": 5.0}))
    assert answer.candidate is not None
    assert (answer.candidate.id, answer.unmeasured, answer.unmeasured_metrics) == (ids[1], (), ())


def test_most_accurate_first_and_not_all(store: FrontierStore, build: Any) -> None:
    accuracies = [0.1 + 0.01 * ((7 * place) % 30) for place in range(30)]
    # Two of one accuracy: the earlier one first.
    accuracies[29] = accuracies[28]
    ids = fill(store, build, [(accuracy, 10 + place, None) for place, accuracy in enumerate(accuracies)])
    answer = store.select("mine", Budget({"mce": 1.0}))
    order = sorted(range(30), key=lambda place: (-accuracies[place], ids[place]))
    assert len(answer.unmeasured) == NAMED
    assert answer.unmeasured == tuple(ids[place] for place in order[:NAMED])


def test_nan_is_measured(store: FrontierStore, build: Any) -> None:
    """It was looked at, and there is no number: nothing is to be measured, and no limit holds."""
    broken, unknown = fill(store, build, [(0.9, 10, float("nan")), (0.8, 9, None)])
    answer = store.select("mine", Budget({"mce": 9.0}))
    assert not answer.feasible
    assert answer.unmeasured == (unknown,)
    store.add_measurements(unknown, [mce(1.0)])
    answer = store.select("mine", Budget({"mce": 9.0}))
    assert answer.candidate is not None
    assert answer.candidate.id == unknown != broken


def test_a_limit_that_is_broken_for_sure_excludes(store: FrontierStore, build: Any) -> None:
    """Of several metrics one that is known decides, though another is not."""
    ids = fill(store, build, [(0.9, 10, 3.0), (0.8, 9, 1.0), (0.7, 8, None)])
    found = store.select("mine", Budget({"mce": 2.0, "flip_rate": 0.1}))
    assert found.unmeasured == (ids[1], ids[2])
    assert found.unmeasured_metrics == ("flip_rate", "mce")
    store.add_measurements(ids[1], [Measurement("flip_rate", 0.5, "validation")])
    assert store.select("mine", Budget({"mce": 2.0, "flip_rate": 0.1})).unmeasured == (ids[2],)
    # A limit from below, too.
    assert store.select("mine", Budget.of(min_accuracy=0.75, maximum={"mce": 2.0})).unmeasured == ()


def test_a_test_value_is_none_of_the_searched_split(store: FrontierStore, build: Any) -> None:
    (one,) = fill(store, build, [(0.9, 10, None)])
    store.add_measurements(one, [Measurement("mce", 1.0, "test")])
    answer = store.select("mine", Budget({"mce": 2.0}))
    assert (answer.feasible, answer.unmeasured) == (False, (one,))


def test_stages(store: FrontierStore, build: Any) -> None:
    (one,) = fill(store, build, [(0.5, 10, None)])
    better = build.point(9, 0.8, 10, 10)
    configuration = store.candidate(one).configuration.change(recovery=(Recovery().to_json(),))
    child = store.add_recovered(replace(better, configuration=configuration, parent=one, number=0))
    asked = Budget({"mce": 2.0})
    assert store.select("mine", asked).unmeasured == (child.id, one)
    assert store.select("mine", asked, stage="before").unmeasured == (one,)
    store.add_measurements(one, [mce(1.0)])
    assert store.select("mine", asked, stage="before").candidate.id == one  # type: ignore[union-attr]
    after = store.select("mine", asked)
    assert after.candidate is not None
    assert (after.candidate.id, after.unmeasured) == (one, (child.id,))


def test_only_complete_ones_are_named(store: FrontierStore, build: Any) -> None:
    (one,) = fill(store, build, [(0.9, 10, None)])
    for number, state in ((1, "stopped"), (2, "failed")):
        better = replace(build.point(number, 0.99, 1, 1), state=state, reason="why")
        store.record("mine", build.trial(number), better)
    assert store.select("mine", Budget({"mce": 2.0})).unmeasured == (one,)


def test_what_every_candidate_has_is_not_asked_for(store: FrontierStore, build: Any) -> None:
    """A metric of the dense model is one of all; an objective, too."""
    store.create_search(build.search(dense=DENSE))
    for number, ece in enumerate((0.2, 0.05)):
        store.record("mine", build.trial(number), build.point(number, 0.9, 10 + number, 10, ece=ece))
    answer = store.select("mine", Budget({"ece": 0.1}))
    assert answer.candidate is not None
    assert (answer.candidate.value("ece"), answer.unmeasured) == (0.05, ())
    assert store.select("mine", Budget({"ece": 0.01})).unmeasured == ()
    store.create_search(build.search("other", objectives="accuracy,mce,macs"))
    assert store.select("other", Budget({"mce": 1.0})).unmeasured == ()


def test_what_nobody_can_measure_is_refused_as_before(store: FrontierStore, build: Any) -> None:
    fill(store, build, [(0.9, 10, None)])
    with pytest.raises(UsageError, match="beauty"):
        store.select("mine", Budget({"beauty": 1.0}))


NUMBERS = iter(range(10_000))


@given(
    points=st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 5), st.sampled_from([None, 0.5, 1.0, 2.0, float("nan")])),
        min_size=1,
        max_size=8,
    ),
    limit=st.sampled_from([0.4, 1.0, 1.5]),
    size=st.sampled_from([2, 4, 9]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_against_the_definition(
    shared: FrontierStore,
    build: Any,
    points: list[tuple[int, int, float | None]],
    limit: float,
    size: int,
) -> None:
    name = f"search {next(NUMBERS)}"
    ids = fill(shared, build, [(a / 10, float(b), m) for a, b, m in points], name)
    answer = shared.select(name, Budget({"mce": limit, "memory": float(size)}))
    holds = [
        (a, -b, -i)
        for i, (a, b, m) in zip(ids, points, strict=True)
        if m is not None and m <= limit and b <= size
    ]
    assert answer.feasible == bool(holds)
    if holds:
        assert answer.candidate is not None
        assert answer.candidate.id == -max(holds)[2]
    least = max(holds)[0] if holds else -1
    unknown = [
        (-a, i) for i, (a, b, m) in zip(ids, points, strict=True) if m is None and b <= size and a >= least
    ]
    assert answer.unmeasured == tuple(i for _, i in sorted(unknown))
