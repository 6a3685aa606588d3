"""How a frontier grew: what the frontier of the first trials alone says at each place."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from leanfront.core.objectives import normalised_hypervolume, resolve
from leanfront.core.storage import FrontierStore, growth

REFERENCE = {"accuracy": 0.1, "memory": 100.0, "macs": 100.0}


def points(build: Any, count: int) -> list[Any]:
    draw = random.Random(3)
    found = []
    for number in range(count):
        memory, macs = float(draw.randint(1, 99)), float(draw.randint(1, 99))
        state = draw.choice(["complete", "complete", "complete", "stopped"])
        accuracy = round(0.3 + 0.002 * (memory + macs) + draw.uniform(-0.1, 0.1), 2)
        found.append(replace(build.point(number, accuracy, memory, macs), state=state))
    return found


def volumes(store: FrontierStore, name: str = "mine") -> tuple[float, float]:
    """Of the stored frontier, from its records."""
    record, objectives = store.search(name), resolve("accuracy,memory,macs")
    values = [[each.accuracy, each.memory_bytes, each.macs] for each in store.frontier(name)]
    array = np.array(values, dtype=np.float64)
    return (
        normalised_hypervolume(array, objectives, record.reference, log2=False),
        normalised_hypervolume(array, objectives, record.reference, log2=True),
    )


@pytest.fixture
def grown(store: FrontierStore, build: Any) -> tuple[FrontierStore, list[tuple[float, float, int]]]:
    """`mine` of 30 trials, some of them repeated, and what its frontier was after each."""
    store.create_search(build.search(reference=REFERENCE))
    seen = []
    for number, point in enumerate(points(build, 27)):
        # Numbers are given when a trial is asked; they end in another order.
        store.record("mine", build.trial(100 - number), point)
        seen.append((*volumes(store), store.search("mine").frontier_size))
        if number in (5, 6, 20):
            store.record("mine", build.trial(200 + number), point)
            seen.append(seen[-1])
    return store, seen


def test_every_place_is_the_frontier_of_its_trials(grown: Any) -> None:
    store, seen = grown
    found = store.growth("mine", 200)
    assert found.trials == tuple(range(1, 31))
    told = list(zip(found.hypervolume, found.hypervolume_log2, found.frontier_size, strict=True))
    assert np.allclose(told, seen, rtol=1e-12)
    some = store.growth("mine", 4)
    assert some.trials == (1, 11, 20, 30)
    assert some.hypervolume == tuple(found.hypervolume[place - 1] for place in some.trials)
    assert some.frontier_version == store.search("mine").frontier_version


def test_recovered_candidates_count_from_the_trial_before_them(grown: Any, build: Any) -> None:
    store, seen = grown
    child = replace(build.point(900, 0.9, 2.0, 2.0), parent=next(store.candidates("mine")).id)
    store.add_recovered(child)
    store.record("mine", build.trial(901), build.point(901, 0.2, 99.0, 99.0))
    found = store.growth("mine", 200)
    assert found.trials == tuple(range(1, 32))
    assert np.allclose(found.hypervolume[:29], [each[0] for each in seen[:29]], rtol=1e-12)
    assert found.hypervolume[29] == found.hypervolume[30] == pytest.approx(volumes(store)[0], rel=1e-12)
    assert found.hypervolume[29] > found.hypervolume[28]
    assert found.frontier_size[-1] == store.search("mine").frontier_size


def test_nothing_of_one_that_waits(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search(state="queued", reference={}))
    assert store.growth("mine").to_json() == {
        "search": "mine",
        "frontier_version": 0,
        "trials": (),
        "hypervolume": (),
        "hypervolume_log2": (),
        "frontier_size": (),
    }
    store.create_search(build.search("failing", reference=REFERENCE))
    for number in range(3):
        failed = build.candidate(number, {}, state="failed", reason="no")
        store.record("failing", build.trial(number), replace(failed, search="failing"))
    found = store.growth("failing")
    assert (found.trials, found.hypervolume, found.frontier_size) == ((1, 2, 3), (0.0,) * 3, (0,) * 3)


def test_volumes_that_take_long_are_left_out(grown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, seen = grown
    store.set_hypervolume("mine", 0.25, 4.5)
    most = 5
    monkeypatch.setitem(growth.LARGEST, 3, most)
    found = store.growth("mine", 200)
    small = [place for place, (*_, size) in enumerate(seen, 1) if size <= most]
    assert seen[-1][2] > most
    assert 0 < len(small) < 29
    assert found.trials == (*small, 30)
    assert (found.hypervolume[-1], found.hypervolume_log2[-1]) == (0.25, 4.5)
    assert found.frontier_size[-1] == seen[-1][2]
