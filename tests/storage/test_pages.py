from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from leanfront.core.objectives import Budget, Measurement
from leanfront.core.search.candidate import STAGES
from leanfront.core.storage import FrontierStore, memory
from leanfront.errors import NotFoundError, UsageError

STEPS = [round(0.1 * step, 1) for step in range(11)]


def spread(build: Any, store: FrontierStore, count: int = 60, seed: int = 0) -> None:
    """A search with many ties on its frontiers; every third candidate has its heat measured."""
    draw = random.Random(seed)
    store.create_search(build.search())
    entries = []
    for number in range(count):
        accuracy = draw.choice(STEPS)
        memory_bytes = 10 * accuracy + draw.choice([0, 0, 1])
        more = {"heat": draw.choice(STEPS)} if number % 3 == 0 else {}
        candidate = build.point(number, accuracy, memory_bytes, draw.choice(STEPS), **more)
        # Every fifth is recovered.
        if number % 5 == 4:
            better = [replace(each, value=1.1 * each.value) for each in candidate.measurements[:1]]
            candidate = replace(candidate, parent=1, measurements=(*better, *candidate.measurements[1:]))
        entries.append((build.trial(number), candidate, None))
    store.record_many("mine", entries[:1])
    store.record_many("mine", entries[1:])


def sorted_by_hand(store: FrontierStore, budget: Budget, weak: bool, stage: str, key: Any) -> list[Any]:
    members = store.frontier("mine", weak=weak, stage=stage)
    inside = [each for each in members if budget.holds({name: each.value(name) for name in budget.names})]
    return sorted(inside, key=lambda c: (key(c), c.memory_bytes, c.macs, -c.accuracy, c.id))


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize(
    ("order_by", "key"),
    [
        ("memory", lambda c: c.memory_bytes),
        ("accuracy", lambda c: -c.accuracy),
        ("macs", lambda c: c.macs),
        ("heat", lambda c: float("inf") if c.value("heat") is None else c.value("heat")),
    ],
)
def test_pages_are_the_frontier_in_order(
    store: FrontierStore, build: Any, weak: bool, order_by: str, key: Any
) -> None:
    spread(build, store)
    budgets = [
        Budget(),
        Budget({"macs": 0.5}, {"accuracy": 0.2}),
        Budget({"heat": 0.6}),
        Budget({"memory": -1}),
    ]
    for stage in STAGES:
        sizes = []
        for budget in budgets:
            expected = sorted_by_hand(store, budget, weak, stage, key)
            sizes.append(len(expected))
            for limit in (1, 3, 100):
                found: list[Any] = []
                after = None
                while True:
                    page = store.frontier_page(
                        "mine", budget, weak=weak, stage=stage, order_by=order_by, limit=limit, after=after
                    )
                    assert len(page.candidates) <= limit
                    found += page.candidates
                    if page.last is None:
                        break
                    after = page.last
                assert found == expected
                assert page.search == store.search("mine")
        assert sizes[0] > sizes[1] > 0 < sizes[2]
        assert sizes[3] == 0
    assert store.frontier("mine", stage="before") != store.frontier("mine")


def test_a_place_holds_while_the_frontier_changes(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.1 * k, k, 10 - k) for k in range(1, 9)])
    first = store.frontier_page("mine", limit=4)
    assert [each.number for each in first.candidates] == [0, 1, 2, 3]
    # One before the place and one behind it come, and the one that the place was made of goes.
    store.record("mine", build.trial(20), build.point(20, 0.95, 1.5, 9.5))
    store.record("mine", build.trial(21), build.point(21, 0.41, 3.9, 5.9))
    store.record("mine", build.trial(22), build.point(22, 0.96, 6.5, 0.5))
    rest = store.frontier_page("mine", limit=10, after=first.last)
    expected = [each.number for each in store.frontier("mine") if (each.memory_bytes or 0) > 4]
    assert [each.number for each in rest.candidates] == expected
    assert 22 in expected
    assert rest.last is None


def test_what_no_page_can_be_is_refused(store: FrontierStore, build: Any) -> None:
    spread(build, store)
    with pytest.raises(UsageError, match=r"cannot order by 'fog': .*objectives are accuracy, memory, macs"):
        store.frontier_page("mine", order_by="fog")
    place = store.frontier_page("mine", limit=1).last
    assert place is not None
    with pytest.raises(UsageError, match="does not belong to this order"):
        store.frontier_page("mine", order_by="heat", limit=1, after=place)
    with pytest.raises(NotFoundError, match="no search named 'none'"):
        store.frontier_page("none")
    member = store.frontier("mine")[0].id
    for ask in (
        store.frontier_page,
        store.frontier,
        store.select,
        lambda _, **o: store.neighbours(member, **o),
    ):
        with pytest.raises(UsageError, match=r"stage is before or after \(recovery\), not 'later'"):
            ask("mine", stage="later")


def test_neighbours_are_the_nearest_on_the_frontier(store: FrontierStore, build: Any) -> None:
    spread(build, store, 40, seed=3)
    for candidate, stage in itertools.product(store.candidates("mine"), STAGES):
        front = store.frontier("mine", stage=stage)
        found = store.neighbours(candidate.id, stage=stage)
        assert found.candidate == candidate
        for cost in ("memory_bytes", "macs"):
            own = candidate.value(cost)
            cheaper = [each for each in front if each.value(cost) < own]
            better = [each for each in front if each.accuracy > candidate.accuracy]
            step = found.cheaper[cost]
            assert (step is None) == (not cheaper)
            if step is not None:
                dearest = max(cheaper, key=lambda c: (c.value(cost), c.accuracy))
                assert (step.candidate.value(cost), step.candidate.accuracy) == (
                    dearest.value(cost),
                    dearest.accuracy,
                )
                assert step.cost < 0
                scale = {"memory_bytes": 1e3, "macs": 1e6}[cost]
                assert step.rate == pytest.approx(step.accuracy / step.cost * scale)
            step = found.better[cost]
            assert (step is None) == (not better)
            if step is not None:
                assert step.accuracy > 0
                assert step.candidate.value(cost) == min(each.value(cost) for each in better)
        assert found.to_json()["candidate"] == candidate.id


def test_what_is_remembered_is_what_is_stored(
    store: FrontierStore, url: str, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes' memories of one database, one of which is small, and a third without any."""
    monkeypatch.setattr(memory, "SEARCHES", 2)
    monkeypatch.setattr(memory, "MEMBERS", 12)
    draw = random.Random(1)
    with FrontierStore(url) as other:
        for name in ("a", "b", "c"):
            store.create_search(build.search(name))
        for number in range(25):
            name = draw.choice(["a", "b", "c"])
            writer = draw.choice([store, other])
            point = (draw.choice(STEPS), draw.choice(STEPS), draw.choice(STEPS))
            candidate = build.point(number, *point)
            parent = next(iter(writer.candidates(name)), None)
            if number % 6 == 5 and parent is not None:
                candidate = replace(candidate, parent=parent.id)
            made = writer.record(name, build.trial(number), candidate)
            if number % 4 == 0:
                added = [Measurement("fog", draw.random()), Measurement("accuracy", draw.random(), "test")]
                draw.choice([store, other]).add_measurements(made.id, added)
            with FrontierStore(url) as fresh:
                for asked in ({"weak": False}, {"weak": True}, {"stage": "before"}):
                    expected = fresh.frontier(name, **asked)
                    assert store.frontier(name, **asked) == other.frontier(name, **asked) == expected
                if number > 4:
                    budget = Budget({"fog": draw.random()})
                    which, stage = draw.choice(["a", "b", "c"]), draw.choice(STAGES)
                    try:
                        answer = fresh.select(which, budget, stage=stage)
                    except UsageError:
                        continue
                    for each in (store, other):
                        assert each.select(which, budget, stage=stage) == answer


def test_a_reader_of_an_older_state_is_not_confused(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.5, 5, 5)])
    with store.database.reading() as session:
        before = store._memory.known(session, "mine")
        assert store._memory.front(session, before, "after").ids.tolist() == [1]
        store.record("mine", build.trial(1), build.point(1, 0.9, 1, 1))
        # The transaction still sees what it saw, and what it reads does not stay in the way.
        assert store._memory.front(session, before, "after").ids.tolist() == [1]
        assert [each.on_frontier for each in store._memory.members(session, before, [1]).values()] == [True]
    assert [each.number for each in store.frontier("mine")] == [1]
