from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from leanfront.core.objectives import Budget, minimisation, objective_values, resolve
from leanfront.core.objectives.objective import MOST_OBJECTIVES
from leanfront.core.storage import FrontierStore
from leanfront.core.storage.frontier import decides
from leanfront.core.storage.memory import Memory
from leanfront.core.storage.tables import VECTOR, FrontierRow, SearchRow
from leanfront.testing.stores import fronts
from tests.statements import statements

NAMES = "accuracy,memory,macs,cross_entropy"
NUMBERS = itertools.count()

# Few values make ties and duplicates frequent; 0.0 and -0.0 must count as one.
value = st.sampled_from([0.0, -0.0, 0.25, 0.5, 0.75, 1.0])
odd = st.sampled_from([math.nan, math.inf, -math.inf, None])

Insert = tuple[int, str, bool, list[float | None]]


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Insert]]:
    """A number of objectives, and inserts: key of the configuration, state, whether recovered, values."""
    count = draw(st.integers(2, 4))
    entry = st.one_of(value, value, value, value, value, value, odd) if draw(st.booleans()) else value
    vector = st.lists(entry, min_size=count, max_size=count)
    state = st.sampled_from(["complete"] * 9 + ["failed"])
    recovered = st.sampled_from([False, False, True]) if draw(st.booleans()) else st.just(False)
    insert = st.tuples(st.integers(0, 14), state, recovered, vector)
    return count, draw(st.lists(insert, max_size=14))


def stored(store: FrontierStore, name: str, stage: str) -> tuple[set[int], set[int]]:
    """Ids that the table holds as strict at a stage, and all of it."""
    with store.database.reading() as session:
        rows = session.execute(
            select(FrontierRow.candidate_id, getattr(FrontierRow, f"strict_{stage}"))
            .join(SearchRow, SearchRow.id == FrontierRow.search_id)
            .where(SearchRow.name == name)
        ).all()
    return {row[0] for row in rows if row[1]}, {row[0] for row in rows if row[1] is not None}


@settings(max_examples=120, deadline=None)
@given(history=histories(), halves=st.booleans())
def test_the_stored_frontiers_equal_brute_force_after_every_insert(
    shared: FrontierStore, build: Any, history: tuple[int, list[Insert]], halves: bool
) -> None:
    """Before and after recovery, whether candidates come one by one or many at once."""
    count, inserts = history
    objectives = resolve(NAMES.split(",")[:count])
    name = f"example {next(NUMBERS)}"
    shared.create_search(build.search(name, ",".join(NAMES.split(",")[:count])))
    ids: dict[int, int] = {}
    vectors: dict[int, tuple[float, ...]] = {}
    trained: set[int] = set()
    raw: dict[int, tuple[float, ...]] = {}
    step = max(1, len(inserts) // 2) if halves else 1
    for start in range(0, len(inserts), step):
        entries = []
        for number, (key, state, recovered, values) in enumerate(inserts[start : start + step], start):
            named = {objective.measurement: each for objective, each in zip(objectives, values, strict=True)}
            reason = "out of memory" if state == "failed" else None
            # A candidate is recovered from one that is there.
            parent = max(ids.values(), default=None) if recovered else None
            candidate = build.candidate(key, named, state=state, reason=reason, parent=parent)
            entries.append((build.trial(number), candidate, bytes([number])))
        found = shared.record_many(name, entries)
        for (key, state, _, values), (_, given_candidate, _), made in zip(
            inserts[start : start + step], entries, found, strict=True
        ):
            assert made.id is not None
            if key in ids:
                assert made.id == ids[key]
                continue
            ids[key] = made.id
            usable = state == "complete" and all(v is not None and math.isfinite(v) for v in values)
            assert made.state == ("complete" if usable else "failed")
            if usable:
                vectors[made.id] = minimisation(objectives, [v for v in values if v is not None])
            if given_candidate.parent is not None:
                trained.add(made.id)
        raw = {key: vector for key, vector in vectors.items() if key not in trained}
        for stage, among in (("before", raw), ("after", vectors)):
            assert stored(shared, name, stage) == fronts(among)
        strict, weak = fronts(vectors)
        assert all(made.on_frontier == (made.id in strict) for made in found)
    (strict, weak), (strict_raw, weak_raw) = fronts(vectors), fronts(raw)
    for _ in range(2):
        assert {each.id for each in shared.frontier(name)} == strict
        assert {each.id for each in shared.frontier(name, weak=True)} == weak
        assert {each.id for each in shared.frontier(name, stage="before")} == strict_raw
        assert {each.id for each in shared.frontier(name, weak=True, stage="before")} == weak_raw
        # And once more as a process reads them that has not seen them grow.
        shared._memory = Memory()
    assert shared.correctness(name).keys() == strict_raw
    assert {each.id for each in shared.candidates(name) if each.on_frontier} == strict
    record = shared.search(name)
    assert (record.trials, record.frontier_size) == (len(inserts), len(strict))


def test_two_fronts_are_written_as_one_while_they_are_the_same(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 100, 10), (0.5, 50, 50), (0.4, 60, 60)])

    def written(candidate: Any) -> list[str]:
        found = statements(store, lambda: store.record("mine", build.trial(candidate.number), candidate))
        return [text.split()[0] for text, _ in found if text.startswith(("UPDATE", "DELETE"))]

    def ids(stage: str) -> list[tuple[int | None, bool]]:
        return [(each.id, each.on_frontier) for each in store.frontier("mine", stage=stage, weak=True)]

    own = ["UPDATE"]
    assert written(build.point(3, 0.9, 100, 5)) == ["UPDATE", *own]  # demotes the first
    assert written(build.point(4, 0.6, 40, 40)) == ["DELETE", *own]  # removes the second
    assert ids("before") == ids("after") == [(5, True), (4, True), (1, False)]
    # Recovered ones take the others off the front after recovery alone.
    assert written(replace(build.point(5, 0.95, 99, 4), parent=4)) == ["DELETE", "UPDATE", *own]
    assert ids("before") == [(5, True), (4, False), (1, False)]
    assert ids("after") == [(5, True), (6, True)]
    # And go with what removes them.
    assert written(build.point(6, 0.99, 98, 3)) == ["DELETE", "DELETE", "UPDATE", *own]
    assert ids("before") == ids("after") == [(5, True), (7, True)]


def test_a_failed_objective_is_named(build: Any) -> None:
    objectives = resolve("accuracy,memory")
    values, reason = objective_values(objectives, build.measurements({"accuracy": 0.5}))
    assert values is None
    assert reason == "objective 'memory' was not measured"
    values, reason = objective_values(
        objectives, build.measurements({"accuracy": math.nan, "memory_bytes": 1.0})
    )
    assert values is None
    assert reason == "objective 'accuracy' is nan"
    values, reason = objective_values(objectives, build.measurements({"accuracy": 1, "memory_bytes": 2}))
    assert (values, reason) == ((1.0, 2.0), None)


def test_only_natural_limits_on_objectives_let_the_frontier_decide() -> None:
    three, two = resolve("accuracy,memory,macs"), resolve("accuracy,memory")
    assert decides(three, Budget())
    assert decides(three, Budget({"memory": 1.0, "macs": 2.0}, {"accuracy": 0.5}))
    # A dominated candidate may be the one that is large enough, bad enough, or has the other measurement.
    assert not decides(three, Budget({}, {"memory": 1.0}))
    assert not decides(three, Budget({"accuracy": 0.5}))
    assert not decides(three, Budget({"file_size": 100.0}))
    # Ties go by MACs, which the frontier of these objectives does not know.
    assert not decides(two, Budget())


def test_the_table_has_a_column_for_every_objective() -> None:
    assert len(VECTOR) == MOST_OBJECTIVES
