from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from leanfront.core.objectives import Budget, Measurement, Selection, resolve, select
from leanfront.core.objectives.strategies import STRATEGIES, Strategy
from leanfront.core.storage import FrontierStore, nearest, points, wide
from leanfront.core.storage.memory import Version
from leanfront.core.storage.points import StoredPoint
from leanfront.errors import NotFoundError, UsageError
from tests.statements import statements

NUMBERS = itertools.count()
SETS = ("accuracy,memory,macs", "macs,accuracy,memory,file_size", "accuracy,macs", "cross_entropy,memory")
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("accuracy", {}),
    ("knee", {}),
    ("lexicographic", {"order": "memory,accuracy"}),
    ("lexicographic", {"order": "accuracy,file_size", "tolerance": 0.3}),
    ("lexicographic", {"tolerance": 0.25}),
    ("chebyshev", {}),
]
MEASURED = ("accuracy", "memory_bytes", "macs", "cross_entropy", "file_bytes", "heat")

grid = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
extra = st.sampled_from([0.0, 0.25, 0.5, 1.0, None, math.nan])
rows = st.lists(
    st.fixed_dictionaries(
        {
            "accuracy": grid,
            "memory_bytes": grid,
            "macs": grid,
            "cross_entropy": grid,
            "file_bytes": grid,
            "heat": extra,
            # None of these may play a part: what was measured on the test split, failed candidates, and the
            # estimates of stopped ones.
            "test": grid,
            "state": st.sampled_from(["complete"] * 6 + ["failed", "stopped"]),
            "recovered": st.sampled_from([False, False, False, True]),
        }
    ),
    min_size=1,
    max_size=10,
)
limits = st.dictionaries(st.sampled_from(MEASURED), st.sampled_from([0.0, 0.2, 0.5, 0.75]), max_size=3)
lower = st.dictionaries(st.sampled_from(MEASURED), st.sampled_from([0.0, 0.25, 0.6]), max_size=2)


@pytest.mark.parametrize("walk", [False, True], ids=["widened fronts", "index walks"])
@settings(max_examples=settings.default.max_examples // 5, deadline=None)
@given(
    objectives=st.sampled_from(SETS),
    table=rows,
    budgets=st.lists(st.tuples(limits, lower), min_size=1, max_size=4),
    chosen=st.lists(st.sampled_from(OPTIONS), min_size=1, max_size=3),
)
def test_a_query_equals_the_rule_over_all_candidates(
    shared: FrontierStore,
    build: Any,
    walk: bool,
    objectives: str,
    table: list[dict[str, Any]],
    budgets: list[tuple[dict[str, float], dict[str, float]]],
    chosen: list[tuple[str, dict[str, Any]]],
) -> None:
    name = f"example {next(NUMBERS)}"
    shared.create_search(build.search(name, objectives))
    first = shared.record(name, build.trial(len(table)), build.candidate(99, {}, state="failed")).id
    entries = []
    for number, row in enumerate(table):
        tested = tuple(Measurement(key, row["test"], "test") for key in MEASURED)
        state: dict[str, Any] = {
            "state": row["state"],
            "reason": None if row["state"] == "complete" else "late",
        }
        # Whose child it is does not matter.
        state["parent"] = first if row["recovered"] else None
        candidate = build.candidate(number, {key: row[key] for key in MEASURED}, **state)
        candidate = replace(candidate, measurements=(*tested, *candidate.measurements))
        entries.append((build.trial(number), candidate, None))
    with pytest.MonkeyPatch.context() as patch:
        if walk:
            # No widened front is small enough, and lists are read in small steps.
            patch.setattr(wide, "MOST_ROWS", -1)
            patch.setattr(nearest, "STEP", 2)
            patch.setattr(points, "FEW", 2)
        half = len(entries) // 2
        for part in (entries[:half], entries[half:]):
            if part:
                shared.record_many(name, part)
            compare(shared, name, objectives, budgets, chosen)


def compare(
    store: FrontierStore,
    name: str,
    objectives: str,
    budgets: list[tuple[dict[str, float], dict[str, float]]],
    chosen: list[tuple[str, dict[str, Any]]],
) -> None:
    """Every query answers as the rule does over all complete candidates, or over those before recovery."""
    everything = list(store.candidates(name))
    raw = [each for each in everything if each.parent is None]
    # What is measured at all, be it on a stopped candidate, may be limited.
    known = {
        each.name
        for one in store.candidates(name, failed=True)
        for each in one.measurements
        if each.split != "test"
    }
    for maximum, minimum in budgets:
        if any(minimum[key] > maximum[key] for key in minimum.keys() & maximum.keys()):
            continue
        budget = Budget(maximum, minimum)
        if not set(budget.names) <= known:
            if everything or known:
                with pytest.raises(UsageError, match=r"no candidate of this search has it measured"):
                    store.select(name, budget)
            continue
        # Of the second stage less is asked: what is common to both is seen at the first.
        for stage, among, asked in (("after", everything, chosen), ("before", raw, chosen[:1])):
            for strategy, options in asked:
                if strategy == "lexicographic" and "order" not in options:
                    options = {**options, "order": objectives}
                expected = select(
                    among,
                    budget,
                    resolve(objectives),
                    strategy=strategy,
                    cheapest={"memory_bytes": 1.0, "macs": 2.0},
                    **options,
                )
                found = store.select(name, budget, strategy=strategy, stage=stage, **options)
                assert essence(found) == essence(expected)
            answer = store.select(name, budget, stage=stage)
            assert (answer.feasible, answer.candidate and answer.candidate.id) == brute_force(among, budget)
            members = store.frontier(name, stage=stage)
            assert stage == "before" or members == [each for each in members if each.on_frontier]
            inside = [each for each in members if budget_holds(each, budget)]
            assert {each.id for each in store.frontier(name, budget, stage=stage)} == {
                each.id for each in inside
            }


def essence(answer: Selection[Any]) -> dict[str, Any]:
    """The answer with ids for candidates, which are not equal to themselves where they hold a NaN."""
    return {
        **{each.name: getattr(answer, each.name) for each in fields(answer)},
        "candidate": answer.candidate and answer.candidate.id,
        "nearest": answer.nearest and answer.nearest.id,
    }


def budget_holds(candidate: Any, budget: Budget) -> bool:
    for name in budget.names:
        value = candidate.value(name)
        if value is None or math.isnan(value):
            return False
        if not budget.minimum.get(name, -math.inf) <= value <= budget.maximum.get(name, math.inf):
            return False
    return True


def brute_force(everything: list[Any], budget: Budget) -> tuple[bool, Any]:
    """The most accurate within the budget; ties: fewer bytes, fewer MACs, lower id."""
    best = None
    for one in everything:
        if not budget_holds(one, budget):
            continue
        key = (-one.accuracy, one.memory_bytes, one.macs, one.id)
        if best is None or key < best[0]:
            best = key, one.id
    return best is not None, None if best is None else best[1]


def test_a_cap_on_another_measurement_is_met_by_a_dominated_candidate(
    store: FrontierStore, build: Any
) -> None:
    store.create_search(build.search())
    store.record("mine", build.trial(0), build.point(0, 0.9, 10, 10, file_bytes=500))
    worse = store.record("mine", build.trial(1), build.point(1, 0.8, 20, 20, file_bytes=100))
    assert not worse.on_frontier
    answer = store.select("mine", Budget({"file_size": 200}))
    assert answer.candidate == worse
    assert store.frontier("mine", Budget({"file_size": 200})) == []


def test_a_tie_of_all_that_decides_goes_by_id_even_to_a_dominated_one(
    store: FrontierStore, build: Any
) -> None:
    store.create_search(build.search(objectives="accuracy,memory,macs,file_size"))
    first = store.record("mine", build.trial(0), build.point(0, 0.9, 10, 10, file_bytes=50))
    second = store.record("mine", build.trial(1), build.point(1, 0.9, 10, 10, file_bytes=40))
    assert [each.id for each in store.frontier("mine")] == [second.id]
    expected = select(store.candidates("mine"), None, resolve("accuracy,memory,macs,file_size"))
    assert store.select("mine").candidate.id == expected.candidate.id == first.id


def test_a_widened_frontier_follows_what_is_stored_and_measured(
    store: FrontierStore, url: str, build: Any
) -> None:
    build.fill(store, [(0.9, 10, 10), (0.8, 20, 20)])
    ids = [each.id for each in store.candidates("mine")]
    with FrontierStore(url) as other:
        for store_, identifier, heat in ((store, ids[0], 5.0), (other, ids[1], 3.0)):
            store_.add_measurements(identifier, [Measurement("heat", heat)])
        asked = Budget({"heat": 4.0})
        assert store.select("mine", asked).candidate.id == other.select("mine", asked).candidate.id == ids[1]
        # A dominated one that is cool enough, stored by another process.
        third = other.record("mine", build.trial(2), build.point(2, 0.85, 30, 30, heat=1.0))
        assert store.select("mine", asked).candidate.id == third.id
        # One that is measured anew.
        other.add_measurements(ids[0], [Measurement("heat", 2.0)])
        assert store.select("mine", asked).candidate.id == ids[0]


def test_a_query_of_a_state_just_read_asks_for_nothing_that_is_in_memory(
    store: FrontierStore, url: str, build: Any
) -> None:
    build.fill(store, [(0.9, 100, 1000), (0.5, 60, 500)])
    asked = Budget({"memory": 80})
    expected = store.select("mine", asked)
    record = store.search("mine")
    version = Version(record.id, record.frontier_version)
    missing = Version(record.id, record.frontier_version + 1)
    assert not statements(store, lambda: store.select_at(version, "mine", asked, "accuracy", {}))
    assert statements(store, lambda: store.select_at(missing, "mine", asked, "accuracy", {}))
    for each in (version, missing):
        assert store.select_at(each, "mine", asked, "accuracy", {}) == expected
    with FrontierStore(url) as other:
        other.delete_search("mine")
    # A member that was in memory is what the state read held; another is gone with its search.
    assert store.select_at(version, "mine", asked, "accuracy", {}) == expected
    with pytest.raises(NotFoundError, match="no search named 'mine'"):
        store.select_at(version, "mine", Budget(), "accuracy", {})


def test_an_infeasible_answer_names_the_nearest_and_what_binds(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 100, 1000), (0.5, 60, 500)])
    answer = store.select("mine", Budget({"memory": 50, "macs": 600}))
    assert not answer.feasible
    assert answer.candidate is None
    assert answer.nearest is not None
    assert answer.nearest.memory_bytes == 60
    assert answer.violations == {"memory_bytes": 10.0}
    assert answer.binding == "memory_bytes"
    assert answer.cheapest == {"memory_bytes": 1.0, "macs": 2.0}
    assert answer.to_json()["nearest"]["id"] == answer.nearest.id


def test_a_search_without_candidates_answers_infeasible(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search(settings={}, dense=build.measurements({"file_bytes": 9.0})))
    for budget in (None, Budget({"memory": 5.0}), Budget({"file_size": 5.0})):
        answer = store.select("mine", budget)
        assert (answer.feasible, answer.nearest, answer.cheapest) == (False, None, None)
        assert store.frontier("mine", budget) == []
    with pytest.raises(UsageError, match=r"cannot limit heat.*measured are accuracy, file_bytes, macs"):
        store.select("mine", Budget({"heat": 5.0}))


def test_unknown_limits_strategies_and_options_are_refused(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 100, 1000)])
    for ask in (store.select, store.frontier):
        with pytest.raises(
            UsageError, match=r"cannot limit heat: .*measured are accuracy, macs, memory_bytes"
        ):
            ask("mine", Budget({"heat": 1.0}))
    with pytest.raises(UsageError, match="unknown strategy 'best'"):
        store.select("mine", strategy="best")
    with pytest.raises(UsageError, match="has no option order"):
        store.select("mine", strategy="knee", order="memory")


def test_a_limit_means_the_validation_split(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 100, 1000)])
    candidate = store.frontier("mine")[0]
    tested = [Measurement("accuracy", 0.1, "test"), Measurement("fog", 0.3, "test")]
    store.add_measurements(candidate.id, tested)
    assert store.select("mine", Budget({}, {"accuracy": 0.8})).feasible
    # What is measured on the test split only cannot be limited: choosing by it would be peeking.
    with pytest.raises(UsageError, match="cannot limit fog"):
        store.select("mine", Budget({"fog": 1.0}))


def test_a_strategy_of_somebody_else_sees_all_candidates(
    store: FrontierStore, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worst(points: Any, objectives: Any) -> tuple[Any, None]:
        return min(points, key=lambda point: point.value("heat")), None

    rule = Strategy("worst", (), lambda options, objectives: {}, worst, "for this test")
    monkeypatch.setitem(STRATEGIES, "worst", rule)
    store.create_search(build.search())
    store.record("mine", build.trial(0), build.point(0, 0.9, 10, 10, heat=5.0))
    store.record("mine", build.trial(1), build.point(1, 0.8, 20, 20, heat=1.0))
    answer = store.select("mine", strategy="worst")
    assert answer.candidate is not None
    assert answer.candidate.value("heat") == 1.0


def test_a_point_knows_only_what_a_selection_goes_by() -> None:
    point = StoredPoint(1, {"accuracy": 0.5})
    assert (point.value("accuracy"), point.value("macs")) == (0.5, None)
    with pytest.raises(UsageError, match="not by the test split"):
        point.value("accuracy", "test")


def test_queries_use_the_indexes(file_store: FrontierStore, build: Any) -> None:
    """SQLite's plan of a capped query searches; it does not scan candidates or measurements."""
    build.fill(file_store, [(0.9, 100, 1000)])
    statement = points.capped(points.complete(1), 1, Budget({"file_bytes": 5.0}))
    compiled = statement.compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True, "render_postcompile": True}
    )
    with file_store.database.connection() as connection:
        plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
    assert not [line for line in plan if line.startswith("SCAN leanfront")], plan
    assert any("search_id_name_split_value" in line for line in plan), plan
