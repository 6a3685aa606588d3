"""Latency in searches: predicted for all, measured for the frontier, and the same table when a search goes on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from leanfront.core.compressors import Configuration
from leanfront.core.cost_models import LatencyOptions, LatencyTable
from leanfront.core.cost_models import latency as latency_module
from leanfront.core.cost_models.registry import LATENCY, P50, P95
from leanfront.core.objectives import Budget
from leanfront.core.search import (
    SAMPLERS,
    SearchOptions,
    SpaceOptions,
    prepare,
    resume,
    start,
)
from leanfront.core.search import latency as measuring
from leanfront.core.search.latency import measure_frontier
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.errors import CompressionError

TORCH = LatencyOptions(backend="torch")
OBJECTIVES = ("accuracy", "memory", "latency")


@pytest.fixture
def store(tmp_path: Path) -> FrontierStore:
    return FrontierStore(f"sqlite:///{tmp_path}/search.db")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of few configurations: what latencies are is not looked at."""
    for name, value in {
        "SECONDS": 0.0,
        "EACH": 0.0,
        "FEWEST_TIMED": 6,
        "MOST_TIMED": 8,
        "MEASURED": 0.0,
    }.items():
        monkeypatch.setattr(latency_module, name, value)


def options(**changes: Any) -> SearchOptions:
    return SearchOptions(**{"trials": 6, "objectives": OBJECTIVES, "latency_backend": "torch", **changes})


def own(candidate: Any) -> tuple[float, float, float]:
    """A candidate's predicted latency and the ends of its interval."""
    found = candidate.measurement(LATENCY)
    assert found.unit == "ms"
    return found.value, found.low, found.high


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_can_have_it_as_an_objective(tiny: Target, store: FrontierStore, sampler: str) -> None:
    record = start(tiny, store, "a", options(sampler=sampler))
    assert (record.state, record.trials) == ("done", 6)
    table = LatencyTable.from_json(record.settings["latency"])
    assert table.options == TORCH
    assert table.place["processor"]
    assert table.errors["worst"] >= table.errors["median"] >= 0
    dense = {m.name: m for m in record.dense}
    assert dense[LATENCY].value == record.reference["latency"]
    assert record.settings["cheapest"][LATENCY] > 0
    assert dense[P50].value == table.dense_p50
    assert dense[P50].count == dense[P95].count == table.runs
    cost = prepare(tiny, SpaceOptions(), OBJECTIVES, table).costs
    for candidate in store.candidates("a"):
        value, low, high = own(candidate)
        assert value == cost.one(LATENCY, candidate.configuration)
        assert low <= value <= high
        assert (low, high) == cost.bounds(LATENCY, value)
    frontier = store.frontier("a")
    assert frontier
    for candidate in frontier:
        middle, slow = candidate.measurement(P50), candidate.measurement(P95)
        assert middle is not None
        assert slow is not None
        assert 0 < middle.value <= slow.value
        assert (middle.unit, middle.split) == ("ms", "")
        assert middle.count == slow.count
    assert all(c.measurement(P50) is None for c in store.candidates("a") if not c.on_frontier)


def test_it_is_measured_where_it_is_asked_for(tiny: Target, store: FrontierStore) -> None:
    start(tiny, store, "plain", options(latency_backend=None, objectives=("accuracy", "memory")))
    assert store.search("plain").settings["latency"] is None
    assert all(c.measurement(LATENCY) is None for c in store.candidates("plain"))
    record = start(tiny, store, "a", options(objectives=("accuracy", "memory")))
    assert record.objectives == ("accuracy", "memory")
    fastest = min(store.frontier("a"), key=lambda c: own(c)[0])
    assert fastest.measurement(P50) is not None
    answer = store.select("a", Budget.of(maximum={"latency_ms": own(fastest)[0]}))
    assert answer.candidate is not None
    assert own(answer.candidate)[0] <= own(fastest)[0]
    answer = store.select("a", Budget.of(maximum={"latency_p50_ms": 1e6}))
    assert answer.feasible
    assert not store.select("a", Budget.of(maximum={"latency": 1e-9})).feasible


def test_a_resumed_search_keeps_its_table(
    tiny: Target, store: FrontierStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = start(tiny, store, "a", options(sampler="random"))
    before = {c.id: own(c) for c in store.candidates("a")}
    timed = {c.id: c.value(P50) for c in store.frontier("a")}

    def never(*arguments: Any, **named: Any) -> None:
        raise AssertionError("the table is stored with the search")

    monkeypatch.setattr(latency_module, "measured_table", never)
    more = resume(tiny, store, "a", trials=12)
    assert (more.state, more.trials) == ("done", 12)
    assert more.settings["latency"] == record.settings["latency"]
    cost = prepare(tiny, SpaceOptions(), (), LatencyTable.from_json(record.settings["latency"])).costs
    for candidate in store.candidates("a"):
        assert own(candidate)[0] == cost.one(LATENCY, candidate.configuration)
        assert before.get(candidate.id, own(candidate)) == own(candidate)
    for candidate in store.frontier("a"):
        assert candidate.value(P50) == timed.get(candidate.id, candidate.value(P50))
        assert candidate.value(P50) is not None


def test_another_machine_does_not_measure(
    tiny: Target, store: FrontierStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = start(tiny, store, "a", options(sampler="random", trials=3))
    here = record.settings["latency"]["place"]["processor"]
    monkeypatch.setattr(
        measuring, "place", lambda options: {**record.settings["latency"]["place"], "processor": "Z80"}
    )
    more = resume(tiny, store, "a", trials=14)
    assert all(own(c) for c in store.candidates("a"))
    unmeasured = [c for c in store.frontier("a") if c.value(P50) is None]
    assert unmeasured
    note = f"the latency of {len(unmeasured)} was not measured: processor Z80 is not {here}"
    assert more.message is not None
    assert note in more.message


def test_measuring_stops_when_it_should(
    tiny: Target, store: FrontierStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    prepared = prepare(tiny, SpaceOptions(), OBJECTIVES, TORCH)
    monkeypatch.setattr(
        "leanfront.core.search.lifecycle.measure_frontier", lambda *arguments, **named: (True, None)
    )
    start(tiny, store, "a", options(sampler="nsga2", trials=10))
    count = len(store.frontier("a"))
    assert count > 3
    told: list[int] = []
    assert measure_frontier(
        store, "a", prepared, report=lambda: told.append(1), stop=lambda: next(answers)
    ) == (False, None)
    assert len(told) == sum(c.value(P50) is not None for c in store.frontier("a")) == 1
    late = time.monotonic() - 1
    ended, note = measure_frontier(store, "a", prepared, deadline=late)
    assert ended
    assert note == f"the latency of {count - 1} was not measured: the time limit was reached"

    def fails(*arguments: Any, **named: Any) -> None:
        raise CompressionError("will not run")

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "measured", fails)
        found = measure_frontier(store, "a", prepared)
    assert found == (True, f"the latency of {count - 1} could not be measured: will not run")
    assert measure_frontier(store, "a", prepared) == (True, None)
    assert all(c.value(P50) is not None for c in store.frontier("a"))
    assert measure_frontier(store, "a", prepare(tiny, SpaceOptions())) == (True, None)


def test_a_queued_search_says_it() -> None:
    asked = options(latency_backend=None, latency_threads=2, latency_batch=8)
    again = SearchOptions.read(asked.to_json())
    assert again.latency == asked.latency
    assert asked.latency == LatencyOptions(backend="onnxruntime", threads=2, batch=8)
    # Any of the three asks for latency, none does not.
    assert options(latency_backend=None).latency is None


def test_the_space_says_what_is_measured(tiny: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = []
    module = sys.modules["leanfront.core.search.prepared_target"]  # the package has a function of that name
    monkeypatch.setattr(module, "measured_latency", lambda profile, plan: plans.append(plan) or _Known())
    for bits in ("float", "8", "search"):
        prepare(tiny, SpaceOptions(bits=(4, 8), activation_bits=bits), OBJECTIVES)
    assert [plan.activation_bits for plan in plans] == [(32,), (8,), (4, 5, 6, 7, 8)]
    assert {plan.weight_bits for plan in plans} == {(4, 8)}
    assert {plan.options for plan in plans} == {LatencyOptions()}


class _Known:
    """A latency that is the same for all."""

    table = None

    def __call__(self, configuration: Configuration) -> float:
        return 1.0
