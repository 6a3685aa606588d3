"""Conformance tests for stores."""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.measurement import Measurement
from leanfront.core.objectives.objective import minimisation, resolve
from leanfront.core.objectives.selection import Selection, select
from leanfront.core.search.candidate import STAGES, STATES, Candidate
from leanfront.core.search.store_protocol import Store
from leanfront.errors import LeanfrontError, NameTakenError, NotFoundError, UsageError
from leanfront.testing import records

NAMES = (
    "mine",
    "x",
    "a b",
    "größe-测试-🙂",
    "z" * 100,
    "a.b:c?d=e&f",
    "'; drop table leanfront_searches; --",
    "%",
)
"""Valid names of a search."""

HISTORIES, INSERTS = 6, 12
"""Number of random searches whose frontier is compared with brute force, and of candidates stored in each."""

STRATEGIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("accuracy", {}),
    ("knee", {}),
    ("lexicographic", {"order": "memory,accuracy"}),
    ("chebyshev", {}),
)

Vector = tuple[float, ...]


def fronts(vectors: Mapping[int, Vector]) -> tuple[set[int], set[int]]:
    """Compare all pairs of vectors; smaller values are better.

    Returns:
        Keys of the nondominated vectors, and keys of the weakly nondominated ones, which no other beats in every
        objective.
    """

    def beaten(own: Vector, *, everywhere: bool) -> bool:
        for other in vectors.values():
            better = [a < b for a, b in zip(other, own, strict=True)]
            no_worse = all(a <= b for a, b in zip(other, own, strict=True))
            if all(better) if everywhere else (no_worse and any(better)):
                return True
        return False

    strict = {key for key, own in vectors.items() if not beaten(own, everywhere=False)}
    weak = {key for key, own in vectors.items() if not beaten(own, everywhere=True)}
    return strict, weak


def snapshot(store: Store) -> list[Any]:
    """Return everything that a store tells about its searches."""
    found: list[Any] = []
    for record in store.searches():
        name = record.name
        found += [record, store.trials(name), list(store.candidates(name, failed=True))]
        found += [store.frontier(name, weak=True, stage=stage) for stage in STAGES]
        found += [dict(store.correctness(name)), store.recovered(name)]
    return found


class StoreConformance:
    """Tests that every `leanfront.core.search.store_protocol.Store` must pass.

    Subclass this in a test file, under a name that starts with ``Test``, and override the fixture `store`. If the
    data outlive the store object, in a file or a server, override `reopen` too.
    """

    @pytest.fixture
    def store(self) -> Any:
        """An empty store, a new one for every test; must be overridden."""
        raise NotImplementedError("override the fixture `store`: it must return an empty store")

    @pytest.fixture
    def reopen(self, store: Store) -> Callable[[], Store]:
        """Function that opens the data of `store` as another process would; by default it returns the same store."""
        return lambda: store

    # The protocol

    def test_it_has_the_methods_of_a_store(self, store: Store) -> None:
        for name in (each for each in vars(Store) if not each.startswith("_")):
            made = getattr(store, name)
            assert getattr(made, "__func__", made) is not getattr(Store, name), f"{name} is not implemented"
            promised = list(inspect.signature(getattr(Store, name)).parameters)[1:]
            own = list(inspect.signature(made).parameters.values())
            assert [each.name for each in own[: len(promised)]] == promised, name
            more = [each for each in own[len(promised) :] if each.default is inspect.Parameter.empty]
            assert not more, f"{name} needs arguments that a search does not give: {more}"

    # Searches

    def test_a_search_comes_back_as_it_was_stored(self, store: Store) -> None:
        dense = (
            Measurement("accuracy", 0.9, "validation", 0.8, 0.95, 100),
            Measurement("macs", 5, unit="MAC"),
        )
        stored = []
        for name in NAMES:
            record = records.search(
                name,
                seed=2**62,
                dense=dense,
                coverage={"layers": ["ünï", None, 1.5]},
                artifact="a" * 64,
                state="queued",
                message="waits",
            )
            made = store.create_search(record)
            assert store.search(name) == made
            assert made == replace(record, created=made.created, id=made.id)
            assert made.id is not None
            assert datetime.fromisoformat(made.created).utcoffset() == timedelta(0)
            stored.append(made)
        assert store.searches() == stored

    def test_a_name_is_taken_once(self, store: Store) -> None:
        first = store.create_search(records.search())
        with pytest.raises(NameTakenError):
            store.create_search(records.search(target="other"))
        assert store.searches() == [first]

    def test_searches_come_oldest_first_and_in_pages(self, store: Store) -> None:
        ids = [store.create_search(records.search(name)).id for name in ("b", "a", "c")]
        assert [each.name for each in store.searches()] == ["b", "a", "c"]
        assert [each.name for each in store.searches(limit=2)] == ["b", "a"]
        assert ids[0] is not None
        assert [each.name for each in store.searches(after=ids[0])] == ["a", "c"]
        assert [each.name for each in store.searches(after=ids[0], limit=1)] == ["a"]

    def test_a_queued_search_is_prepared_before_its_first_trial(self, store: Store) -> None:
        store.create_search(
            records.search(fingerprint="", state="queued", reference={}, settings={"trials": 3})
        )
        known = records.search(
            objectives="accuracy,macs",
            dense=(Measurement("macs", 5.0, unit="MAC"),),
            coverage={"share": 0.5},
            artifact="b" * 64,
        )
        made = store.prepare_search(known)
        assert store.search("mine") == made
        for field in ("fingerprint", "objectives", "reference", "settings", "dense", "coverage", "artifact"):
            assert getattr(made, field) == getattr(known, field), field
        store.record("mine", records.trial(0), records.point(0, 0.9, 10, 10))
        before = snapshot(store)
        with pytest.raises(UsageError):
            store.prepare_search(records.search())
        assert snapshot(store) == before

    def test_states_and_hypervolume_change(self, store: Store) -> None:
        store.create_search(records.search())
        for state in STATES:
            store.set_state("mine", state, f"now {state}")
            record = store.search("mine")
            assert (record.state, record.message) == (state, f"now {state}")
        store.set_hypervolume("mine", 0.5, 2.5)
        record = store.search("mine")
        assert (record.hypervolume, record.hypervolume_log2) == (0.5, 2.5)
        with pytest.raises(UsageError):
            store.set_state("mine", "no such state")
        assert store.search("mine") == record

    def test_what_does_not_exist_is_named(self, store: Store) -> None:
        with pytest.raises(NotFoundError, match="mine"):
            store.search("mine")
        store.create_search(records.search("one"))
        store.create_search(records.search("two"))
        calls: list[Callable[[], object]] = [
            lambda: store.search("mine"),
            lambda: store.set_state("mine", "done"),
            lambda: store.set_hypervolume("mine", 0.0, 0.0),
            lambda: store.prepare_search(records.search("mine")),
            lambda: store.record("mine", records.trial(0), records.point(0, 1, 1, 1)),
            lambda: store.recovered("mine"),
            lambda: store.find("mine", "0"),
            lambda: store.trials("mine"),
            lambda: list(store.candidates("mine")),
            lambda: store.correctness("mine"),
            lambda: store.frontier("mine"),
            lambda: store.select("mine"),
        ]
        for call in calls:
            with pytest.raises(NotFoundError) as caught:
                call()
            # The message lists the existing names, for a user who mistyped one.
            assert all(name in str(caught.value) for name in ("mine", "one", "two"))
        with pytest.raises(NotFoundError, match="7"):
            store.candidate(7)
        with pytest.raises(NotFoundError, match="7"):
            store.add_measurements(7, [])
        assert store.find("one", "0" * 64) is None
        assert store.trials("one") == []
        assert list(store.candidates("one")) == store.frontier("one") == store.recovered("one") == []
        assert dict(store.correctness("one")) == {}

    # Trials and candidates

    def test_a_candidate_comes_back_as_it_was_stored(self, store: Store) -> None:
        store.create_search(records.search())
        parent = store.record("mine", records.trial(0), records.point(0, 0.9, 10, 10))
        given = records.candidate(
            1,
            {},
            measurements=(
                Measurement("macs", 0.1 + 0.2, unit="MAC"),
                Measurement("accuracy", 1 / 3, "validation", 0.3, 0.4, 200),
                Measurement("accuracy", 0.25, "test", 0.2, 0.3, 50),
                Measurement("memory_bytes", 2.0**53 - 1, unit="B"),
                Measurement("heat", math.inf),
            ),
            kept={"group": (0, 2, 5)},
            parent=parent.id,
            seconds=1.25,
        )
        made = store.record("mine", records.trial(1), given)
        assert made == replace(given, id=made.id, on_frontier=True)
        assert made.id is not None
        assert store.candidate(made.id) == made
        assert store.find("mine", given.configuration.digest) == made
        assert list(store.candidates("mine")) == [parent, made]

    def test_nan_in_a_measurement_that_is_no_objective_is_kept(self, store: Store) -> None:
        store.create_search(records.search())
        made = store.record("mine", records.trial(0), records.point(0, 0.9, 10, 10, heat=math.nan))
        assert made.state == "complete"
        assert made.id is not None
        heat = store.candidate(made.id).value("heat")
        assert heat is not None
        assert math.isnan(heat)

    def test_a_configuration_is_one_candidate_of_its_search(self, store: Store) -> None:
        store.create_search(records.search())
        first = store.record("mine", records.trial(0), records.point(3, 0.9, 10, 10))
        again = store.record("mine", records.trial(1), records.point(3, 0.95, 9, 9))
        assert again == first
        assert list(store.candidates("mine")) == store.frontier("mine") == [first]
        assert [(each.candidate, each.duplicate, each.values) for each in store.trials("mine")] == [
            (first.id, False, (0.9, 10.0, 10.0)),
            (first.id, True, (0.9, 10.0, 10.0)),
        ]
        assert store.search("mine").trials == 2
        store.create_search(records.search("other"))
        other = store.record("other", records.trial(0), records.point(3, 0.1, 99, 99))
        assert (other.search, other.on_frontier) == ("other", True)
        assert other.id != first.id

    def test_trials_come_back_by_number(self, store: Store) -> None:
        store.create_search(records.search())
        attributes = {"NSGAIISampler:generation": 0, "nested": [1, {"a": None}]}
        for number in (2, 0, 1):
            trial = records.trial(number, parameters={"bits:β": number}, attributes=attributes)
            failed = {"state": "failed", "reason": "diverged"} if number == 1 else {}
            values = {} if failed else {"accuracy": 0.5, "memory_bytes": 2.0, "macs": 2.0}
            store.record("mine", trial, records.candidate(number, values, **failed))
        trials = store.trials("mine")
        assert [each.number for each in trials] == [0, 1, 2]
        assert [each.attributes for each in trials] == [attributes] * 3
        assert [each.parameters for each in trials] == [{"bits:β": number} for number in range(3)]
        assert [each.values for each in trials] == [(0.5, 2.0, 2.0), None, (0.5, 2.0, 2.0)]

    def test_what_is_refused_changes_nothing(self, store: Store) -> None:
        """A trial, its candidate and the frontier are stored together or not at all."""
        store.create_search(records.search())
        made = store.record("mine", records.trial(0), records.point(0, 0.9, 10, 10, heat=1.0), b"\x80")
        assert made.id is not None
        number = made.id
        better = records.point(1, 1.0, 1, 1)
        calls: list[tuple[type[LeanfrontError], Callable[[], object]]] = [
            # A trial with that number is already stored.
            (UsageError, lambda: store.record("mine", records.trial(0), better, b"\x00")),
            (
                NotFoundError,
                lambda: store.record("mine", records.trial(1), replace(better, parent=number + 100)),
            ),
            (UsageError, lambda: store.record("mine", records.trial(1), replace(better, state="running"))),
        ]
        for name in ("accuracy", "memory_bytes", "macs"):
            split = "validation" if name == "accuracy" else ""
            value = Measurement(name, 1.0, split)
            calls.append(
                (
                    UsageError,
                    lambda value=value: store.add_measurements(number, [Measurement("fog", 1.0), value]),  # type: ignore[misc]
                )
            )
        before = snapshot(store)
        for error, call in calls:
            with pytest.raises(error):
                call()
            assert snapshot(store) == before
        assert store.find("mine", better.configuration.digest) is None

    def test_failed_candidates_are_kept_apart(self, store: Store) -> None:
        store.create_search(records.search())
        good = store.record("mine", records.trial(0), records.point(0, 0.1, 99, 99))
        told = records.candidate(1, {"macs": 5.0}, state="failed", reason="out of memory")
        failed = [store.record("mine", records.trial(1), told)]
        assert (failed[0].state, failed[0].reason) == ("failed", "out of memory")
        for number, accuracy in enumerate((math.nan, math.inf, -math.inf, None), start=2):
            values = {"accuracy": accuracy, "memory_bytes": 1.0, "macs": 1.0}
            made = store.record("mine", records.trial(number), records.candidate(number, values))
            assert made.state == "failed"
            assert "accuracy" in (made.reason or ""), "the reason must name the objective"
            failed.append(made)
        assert not any(each.on_frontier for each in failed)
        assert list(store.candidates("mine")) == store.frontier("mine", weak=True) == [good]
        everything = [good.id, *(each.id for each in failed)]
        assert [each.id for each in store.candidates("mine", failed=True)] == everything
        assert [each.values for each in store.trials("mine")[1:]] == [None] * len(failed)
        assert not store.select("mine", Budget({"macs": 50.0})).feasible

    def test_stopped_candidates_are_told_to_the_study_alone(self, store: Store) -> None:
        store.create_search(records.search())
        good = store.record("mine", records.trial(0), records.point(0, 0.5, 50, 50))
        lucky = replace(records.point(1, 0.99, 40, 40), state="stopped", reason="lost its race")
        stopped = store.record("mine", records.trial(1), lucky, b"\x80")
        assert (stopped.state, stopped.reason, stopped.on_frontier) == ("stopped", lucky.reason, False)
        assert store.find("mine", lucky.configuration.digest) == stopped
        assert store.record("mine", records.trial(2), lucky) == stopped
        assert [(each.values, each.stopped, each.duplicate) for each in store.trials("mine")] == [
            ((0.5, 50.0, 50.0), False, False),
            ((0.99, 40.0, 40.0), True, False),
            ((0.99, 40.0, 40.0), True, True),
        ]
        assert list(store.candidates("mine")) == store.frontier("mine", weak=True) == [good]
        assert list(store.candidates("mine", failed=True)) == [good, stopped]
        for strategy, options in STRATEGIES:
            answer = store.select("mine", Budget({"memory": 60.0}), strategy=strategy, **options)
            assert answer.candidate == good
        assert dict(store.correctness("mine")) == {}

    def test_recovered_candidates_are_found_by_their_parent(self, store: Store) -> None:
        records.fill(store, [(0.9, 10, 10), (0.5, 5, 5)])
        first, second = (each.id for each in store.candidates("mine"))
        children = [
            replace(records.point(2, 0.95, 10, 10), parent=first),
            replace(records.candidate(3, {}, state="failed", reason="diverged"), parent=first),
            replace(records.point(4, 0.6, 5, 5), parent=second),
        ]
        made = [store.record("mine", records.trial(each.number), each) for each in children]
        assert [each.parent for each in made] == [first, first, second]
        assert store.recovered("mine") == made
        assert store.recovered("mine", first) == made[:2]
        assert store.recovered("mine", second) == made[2:]

    def test_measurements_are_added_and_replaced(self, store: Store) -> None:
        store.create_search(records.search())
        candidate = store.record("mine", records.trial(0), records.point(0, 0.9, 10, 10))
        assert candidate.id is not None
        first = Measurement("accuracy", 0.8, "test", 0.7, 0.9, 50)
        second = Measurement("heat", 3.0, unit="K")
        store.add_measurements(candidate.id, [first, second])
        changed = replace(first, value=0.75, low=None)
        made = store.add_measurements(candidate.id, [changed])
        assert made == replace(candidate, measurements=(*candidate.measurements, changed, second))
        assert store.candidate(candidate.id) == made
        assert store.frontier("mine") == [made]
        assert store.select("mine", Budget({"heat": 3.0})).candidate == made

    def test_correctness_is_kept_of_the_frontier_alone(self, store: Store) -> None:
        store.create_search(records.search())
        points = [(0.9, 100, 10), (0.5, 50, 50), (0.9, 100, 20), (0.4, 60, 60)]
        made = [
            store.record("mine", records.trial(number), records.point(number, *point), bytes([number]))
            for number, point in enumerate(points)
        ]
        # The third is on the weak front, the fourth on none.
        assert dict(store.correctness("mine")) == {made[0].id: b"\x00", made[1].id: b"\x01"}
        packed = bytes(range(256))
        last = store.record("mine", records.trial(4), records.point(4, 0.9, 100, 9), packed)
        silent = store.record("mine", records.trial(5), records.point(5, 0.6, 40, 40))
        assert [each.id for each in store.frontier("mine")] == [silent.id, last.id]
        assert dict(store.correctness("mine")) == {last.id: packed}
        # Races compare candidates before recovery, so a recovered candidate replaces none of them.
        child = replace(records.point(6, 0.95, 30, 5), parent=last.id)
        assert store.record("mine", records.trial(6), child, b"\xff").on_frontier
        assert dict(store.correctness("mine")) == {last.id: packed}

    # The frontier

    @pytest.mark.parametrize("seed", range(HISTORIES))
    def test_the_frontier_is_the_nondominated_set_at_every_moment(self, store: Store, seed: int) -> None:
        """Strict and weak, before and after recovery, with ties, duplicates, and failed or stopped candidates."""
        draw = random.Random(seed)
        names = ["accuracy", "memory", "macs", "cross_entropy"][: draw.randint(2, 4)]
        objectives = resolve(names)
        store.create_search(records.search(objectives=",".join(names)))
        ids: dict[int, int] = {}
        vectors: dict[int, Vector] = {}
        raw: dict[int, Vector] = {}
        for number in range(INSERTS):
            # Few values make ties frequent; 0.0 and -0.0 count as one.
            values = [draw.choice((0.0, -0.0, 0.25, 0.5, 0.75, 1.0)) for _ in names]
            if draw.random() < 0.1:
                values[0] = draw.choice((math.nan, math.inf))
            state = draw.choice(["complete"] * 8 + ["failed", "stopped"])
            parent = draw.choice(list(ids.values())) if ids and draw.random() < 0.3 else None
            key = draw.randint(0, 2 * INSERTS)
            named = {each.measurement: value for each, value in zip(objectives, values, strict=True)}
            given = records.candidate(
                key, named, state=state, reason=None if state == "complete" else "a reason", parent=parent
            )
            made = store.record("mine", records.trial(number), given, bytes([number]))
            assert made.id is not None
            if key in ids:
                assert made.id == ids[key]
            else:
                ids[key] = made.id
                if state == "complete" and all(map(math.isfinite, values)):
                    vectors[made.id] = minimisation(objectives, values)
                    if parent is None:
                        raw[made.id] = vectors[made.id]
            (strict, weak), (strict_raw, weak_raw) = fronts(vectors), fronts(raw)
            assert made.on_frontier == (made.id in strict)
            assert {each.id for each in store.frontier("mine")} == strict
            assert {each.id for each in store.frontier("mine", weak=True)} == weak
            assert {each.id for each in store.frontier("mine", stage="before")} == strict_raw
            assert {each.id for each in store.frontier("mine", weak=True, stage="before")} == weak_raw
            assert store.correctness("mine").keys() == strict_raw
        assert {each.id for each in store.candidates("mine") if each.on_frontier} == strict
        assert all(each == store.candidate(each.id or 0) for each in store.frontier("mine", weak=True))
        record = store.search("mine")
        assert (record.trials, record.frontier_size) == (INSERTS, len(strict))

    def test_the_order_of_candidates_does_not_change_the_frontier(self, store: Store) -> None:
        points = [(0.5, 2, 2), (0.9, 2, 2), (0.5, 1, 2), (0.4, 3, 3)]
        for place in range(len(points)):
            name = f"search {place}"
            store.create_search(records.search(name))
            for number in range(len(points)):
                key = (number * 3 + place) % len(points)
                store.record(name, records.trial(number), records.point(key, *points[key]))
            found = [
                {each.configuration.channels["group"] - 1 for each in store.frontier(name, weak=weak)}
                for weak in (False, True)
            ]
            assert found == [{1, 2}, {0, 1, 2}]

    def test_the_frontier_comes_cheapest_memory_first_and_within_a_budget(self, store: Store) -> None:
        records.fill(store, [(0.9, 100, 10), (0.5, 50, 90), (0.7, 60, 80), (0.1, 10, 200), (0.0, 200, 300)])
        assert [each.number for each in store.frontier("mine")] == [3, 1, 2, 0]
        budget = Budget({"memory": 60}, {"accuracy": 0.5})
        assert [each.number for each in store.frontier("mine", budget)] == [1, 2]
        assert store.frontier("mine", Budget({"memory": 5})) == []

    def test_a_version_tells_that_the_frontier_changed(self, store: Store) -> None:
        store.create_search(records.search())
        seen = [store.search("mine").frontier_version]
        for number, point in enumerate([(0.9, 10, 10), (0.95, 10, 10), (0.1, 5, 50)]):
            made = store.record("mine", records.trial(number), records.point(number, *point))
            assert made.on_frontier
            seen.append(store.search("mine").frontier_version)
        assert made.id is not None
        store.add_measurements(made.id, [Measurement("heat", 1.0)])
        seen.append(store.search("mine").frontier_version)
        assert seen == sorted(set(seen)), "a reader that remembers a version must see that it is outdated"

    # Queries

    @pytest.mark.parametrize("seed", range(4))
    def test_a_selection_is_the_rules_over_all_candidates(self, store: Store, seed: int) -> None:
        """Also if a dominated candidate is the answer because a limit is on a measurement that is no objective."""
        draw = random.Random(seed)
        values = (0.0, 0.25, 0.5, 0.75, 1.0)
        store.create_search(records.search())
        first = None
        for number in range(10):
            row = {
                name: draw.choice(values)
                for name in ("accuracy", "memory_bytes", "macs", "file_bytes", "heat")
            }
            if number and draw.random() < 0.2:
                row["heat"] = math.nan
            state = draw.choice(["complete"] * 6 + ["failed", "stopped"]) if number else "complete"
            parent = first if draw.random() < 0.3 else None
            given = records.candidate(
                number, row, state=state, reason=None if state == "complete" else "a reason", parent=parent
            )
            # Measurements on the test split must not matter.
            tested = tuple(Measurement(name, draw.choice(values), "test") for name in row)
            given = replace(given, measurements=(*tested, *given.measurements))
            made = store.record("mine", records.trial(number), given)
            first = first or made.id
        objectives = resolve("accuracy,memory,macs")
        everything = list(store.candidates("mine"))
        among = {"after": everything, "before": [each for each in everything if each.parent is None]}
        budgets = [Budget()]
        for _ in range(6):
            names = draw.sample(["memory", "macs", "file_size", "heat", "accuracy"], draw.randint(1, 2))
            limits = {name: draw.choice(values) for name in names}
            at_least = {names[0]} if names[0] == "accuracy" else set()
            budgets.append(
                Budget(
                    {name: limit for name, limit in limits.items() if name not in at_least},
                    {name: limit for name, limit in limits.items() if name in at_least},
                )
            )
        for budget in budgets:
            for stage in STAGES:
                for strategy, options in STRATEGIES:
                    found = store.select("mine", budget, strategy=strategy, stage=stage, **options)
                    expected = select(among[stage], budget, objectives, strategy=strategy, **options)
                    assert _essence(found) == _essence(expected), (budget, stage, strategy)
                found = store.select("mine", budget, stage=stage)
                assert (found.candidate and found.candidate.id) == _most_accurate(among[stage], budget)

    def test_what_nobody_measured_cannot_be_limited(self, store: Store) -> None:
        records.fill(store, [(0.9, 100, 1000)])
        candidate = store.frontier("mine")[0]
        assert candidate.id is not None
        # Choosing by measurements on the test split would be peeking.
        store.add_measurements(candidate.id, [Measurement("fog", 0.3, "test")])
        for ask in (store.select, store.frontier):
            for name in ("heat", "fog"):
                with pytest.raises(UsageError, match=name):
                    ask("mine", Budget({name: 1.0}))
        with pytest.raises(UsageError, match="best"):
            store.select("mine", strategy="best")

    def test_an_answer_without_a_candidate_says_so(self, store: Store) -> None:
        store.create_search(records.search())
        for budget in (None, Budget({"memory": 5.0})):
            answer = store.select("mine", budget)
            assert (answer.feasible, answer.candidate, answer.nearest) == (False, None, None)
            assert store.frontier("mine", budget) == []

    # Persistence

    def test_another_process_reads_what_was_written_and_goes_on(
        self, store: Store, reopen: Callable[[], Store]
    ) -> None:
        store.create_search(records.search())
        points = [(0.9, 100, 1000), (0.5, 60, 500), (0.4, 70, 600)]
        for number, point in enumerate(points):
            store.record("mine", records.trial(number), records.point(number, *point), bytes([number]))
        store.record("mine", records.trial(3), records.candidate(3, {}, state="failed", reason="diverged"))
        store.set_state("mine", "cancelled", "stopped by hand")
        store.set_hypervolume("mine", 0.5, 1.5)
        again = reopen()
        assert snapshot(again) == snapshot(store)
        again.set_state("mine", "running")
        # Stored candidates are found, and new ones are compared with them.
        assert again.record("mine", records.trial(4), records.point(1, 1.0, 1, 1)).number == 1
        best = again.record("mine", records.trial(5), records.point(5, 1.0, 1, 1), b"\x01")
        assert again.frontier("mine") == [best]
        assert dict(again.correctness("mine")) == {best.id: b"\x01"}
        # The first store sees what the other one has written.
        assert snapshot(store) == snapshot(again)
        assert store.search("mine").trials == 6


def _essence(answer: Selection[Candidate]) -> tuple[object, ...]:
    """Return an answer with ids in place of candidates, since a candidate with NaN is not equal to itself."""
    return (
        answer.feasible,
        answer.strategy,
        answer.candidate and answer.candidate.id,
        answer.nearest and answer.nearest.id,
        answer.violations,
        answer.binding,
    )


def _most_accurate(among: list[Candidate], budget: Budget) -> int | None:
    """Return the id of the most accurate candidate within a budget; bytes, MACs and id break ties."""

    def key(one: Candidate) -> tuple[float, ...]:
        values = (one.accuracy, one.memory_bytes, one.macs, one.id)
        accuracy, *rest = (math.nan if value is None else value for value in values)
        return (-accuracy, *rest)

    inside = [one for one in among if budget.holds({name: one.value(name) for name in budget.names})]
    return min(inside, key=key).id if inside else None
