from __future__ import annotations

import inspect
import math
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from leanfront.core.objectives import Budget, Measurement
from leanfront.core.search.store_protocol import Store
from leanfront.core.storage import FrontierStore, check, require_name
from leanfront.core.storage.tables import FrontierRow
from leanfront.errors import NameTakenError, NotFoundError, StorageError, UsageError

NAMES = [
    "mine",
    "x",
    "a b",
    "größe-测试-🙂",
    "z" * 100,
    "a.b:c?d=e&f",
    "'; drop table leanfront_searches; --",
    "%",
]


def test_it_is_a_store() -> None:
    methods = [name for name in vars(Store) if not name.startswith("_")]
    assert len(methods) > 10
    for name in methods:
        promised, made = (
            inspect.signature(getattr(Store, name)),
            inspect.signature(getattr(FrontierStore, name)),
        )
        assert list(made.parameters) == list(promised.parameters), name
        assert getattr(FrontierStore, name) is not getattr(Store, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_comes_back_as_it_was_stored(store: FrontierStore, build: Any, name: str) -> None:
    dense = (Measurement("accuracy", 0.9, "validation", 0.8, 0.95, 100), Measurement("macs", 5, unit="MAC"))
    record = build.search(
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
    created = datetime.fromisoformat(made.created)
    assert created.utcoffset() is not None
    assert abs(datetime.now(UTC) - created).total_seconds() < 3600


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "\0", "z" * 101, "a\u2028b", "\ud800", 5, None])
def test_names_that_cannot_be_are_refused(store: FrontierStore, build: Any, name: Any) -> None:
    with pytest.raises(UsageError, match="a search's name"):
        require_name(name)
    with pytest.raises(UsageError, match="a search's name"):
        store.create_search(replace(build.search(), name=name))
    assert store.searches() == []


def test_a_taken_name_is_refused_and_changes_nothing(store: FrontierStore, build: Any) -> None:
    first = store.create_search(build.search())
    with pytest.raises(NameTakenError, match=r"named 'mine' exists.*leanfront resume mine"):
        store.create_search(build.search(target="other"))
    assert store.searches() == [first]


def test_searches_come_oldest_first(store: FrontierStore, build: Any) -> None:
    for name in ("b", "a", "c"):
        store.create_search(build.search(name))
    assert [each.name for each in store.searches()] == ["b", "a", "c"]


def test_what_does_not_exist_is_named(store: FrontierStore, build: Any) -> None:
    with pytest.raises(NotFoundError, match=r"no search named 'mine': the database has none yet"):
        store.search("mine")
    store.create_search(build.search("one"))
    store.create_search(build.search("two"))
    candidate = build.point(0, 1, 1, 1)
    calls = [
        lambda: store.search("mine"),
        lambda: store.set_state("mine", "done"),
        lambda: store.set_hypervolume("mine", 0.0, 0.0),
        lambda: store.record("mine", build.trial(0), candidate),
        lambda: store.find("mine", "0"),
        lambda: store.trials("mine"),
        lambda: store.candidates("mine"),
        lambda: store.frontier("mine"),
        lambda: store.select("mine"),
    ]
    for call in calls:
        with pytest.raises(NotFoundError, match=r"no search named 'mine'; there are: two, one"):
            call()
    for ask in (lambda: store.candidate(7), lambda: store.add_measurements(7, [])):
        with pytest.raises(NotFoundError, match="no candidate 7"):
            ask()
    assert store.find("one", "0" * 64) is None
    assert list(store.candidates("one")) == store.trials("one") == store.frontier("one") == []


def test_states_and_hypervolume_change(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    store.set_state("mine", "failed", "bad \udcff name\0")
    store.set_hypervolume("mine", 0.5, 2.5)
    record = store.search("mine")
    assert (record.state, record.message) == ("failed", "bad ? name?")
    assert (record.hypervolume, record.hypervolume_log2) == (0.5, 2.5)
    with pytest.raises(UsageError, match="not 'finished'"):
        store.set_state("mine", "finished")
    with pytest.raises(UsageError, match="must be finite, not nan"):
        store.set_hypervolume("mine", math.nan, 1.0)


def test_a_candidate_comes_back_as_it_was_stored(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    parent = store.record("mine", build.trial(0), build.point(0, 0.9, 10, 10))
    given = build.candidate(
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
    made = store.record("mine", build.trial(1), given)
    assert made == replace(given, id=made.id, on_frontier=True)
    assert store.candidate(made.id) == made
    assert store.find("mine", given.configuration.digest) == made
    assert list(store.candidates("mine")) == [parent, made]


def test_everything_is_there_after_reopening(url: str, build: Any) -> None:
    with FrontierStore(url) as store:
        build.fill(store, [(0.9, 100, 1000), (0.5, 60, 500), (0.4, 70, 600)])
        before = (
            store.searches(),
            list(store.candidates("mine")),
            store.trials("mine"),
            store.frontier("mine"),
        )
    with FrontierStore(url) as store:
        after = (
            store.searches(),
            list(store.candidates("mine")),
            store.trials("mine"),
            store.frontier("mine"),
        )
        assert after == before
        store.record("mine", build.trial(3), build.point(3, 1.0, 1, 1))
        assert [each.number for each in store.frontier("mine")] == [3]


def test_a_nan_that_is_no_objective_is_kept(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    made = store.record("mine", build.trial(0), build.point(0, 0.9, 10, 10, heat=math.nan))
    assert made.state == "complete"
    heat = store.candidate(made.id).value("heat")
    assert heat is not None
    assert math.isnan(heat)


def test_a_duplicate_is_answered_and_counted(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    first = store.record("mine", build.trial(0), build.point(3, 0.9, 10, 10))
    again = store.record("mine", build.trial(1), build.point(3, 0.1, 99, 99))
    assert again == first
    assert list(store.candidates("mine")) == [first]
    assert [(each.candidate, each.duplicate, each.values) for each in store.trials("mine")] == [
        (first.id, False, (0.9, 10.0, 10.0)),
        (first.id, True, (0.9, 10.0, 10.0)),
    ]
    assert store.search("mine").trials == 2
    # Another search has its own candidates.
    store.create_search(build.search("other"))
    other = store.record("other", build.trial(0), build.point(3, 0.1, 99, 99))
    assert other.id != first.id
    assert other.search == "other"


def test_trials_come_back_by_number(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    attributes = {"NSGAIISampler:generation": 0, "nested": [1, {"a": None}]}
    for number in (2, 0, 1):
        trial = build.trial(number, parameters={"bits:β": number}, attributes=attributes)
        failed = {"state": "failed", "reason": "diverged"} if number == 1 else {}
        store.record("mine", trial, build.candidate(number, {"accuracy": 0.5} if failed else {}, **failed))
    store.record("mine", build.trial(3), build.point(3, 0.5, 2, 2))
    trials = store.trials("mine")
    assert [each.number for each in trials] == [0, 1, 2, 3]
    assert trials[1].attributes == attributes
    assert trials[1].parameters == {"bits:β": 1}
    assert [each.values for each in trials] == [None, None, None, (0.5, 2.0, 2.0)]


def test_a_trial_is_stored_once(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 10, 10)])
    with pytest.raises(UsageError, match="trial 0 of search 'mine' is stored already"):
        store.record("mine", build.trial(0), build.point(1, 1, 1, 1))
    assert len(list(store.candidates("mine", failed=True))) == 1
    assert store.search("mine").frontier_size == 1


def test_stopped_candidates_are_told_and_nothing_else(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    good = store.record("mine", build.trial(0), build.point(0, 0.5, 50, 50), b"\x80")
    lucky = replace(build.point(1, 0.99, 40, 40, heat=1.0), state="stopped", reason="stopped early")
    stopped = store.record("mine", build.trial(1), lucky)
    assert (stopped.state, stopped.reason, stopped.on_frontier) == ("stopped", lucky.reason, False)
    assert store.find("mine", lucky.configuration.digest) == stopped
    assert store.record("mine", build.trial(2), lucky) == stopped
    trials = store.trials("mine")
    assert [(t.values, t.stopped, t.duplicate) for t in trials] == [
        ((0.5, 50.0, 50.0), False, False),
        ((0.99, 40.0, 40.0), True, False),
        ((0.99, 40.0, 40.0), True, True),
    ]
    assert list(store.candidates("mine")) == store.frontier("mine", weak=True) == [good]
    assert list(store.candidates("mine", failed=True)) == [good, stopped]
    for strategy in ("accuracy", "knee", "lexicographic", "chebyshev"):
        assert store.select("mine", Budget({"memory_bytes": 60.0}), strategy=strategy).candidate == good
    assert store.select("mine", Budget({"heat": 2.0})).feasible is False
    bad = store.record("mine", build.trial(3), replace(build.point(3, math.nan, 1, 1), state="stopped"))
    assert (bad.state, bad.reason) == ("failed", "objective 'accuracy' is nan")


def test_correctness_is_kept_on_the_frontier_only(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    points = [(0.9, 100, 10), (0.5, 50, 50), (0.9, 100, 20), (0.4, 60, 60)]
    for number, point in enumerate(points):
        store.record("mine", build.trial(number), build.point(number, *point), bytes([number]))
    # The third is on the weak front, the fourth on none.
    assert store.correctness("mine") == {1: b"\x00", 2: b"\x01"}
    store.record("mine", build.trial(4), build.point(4, 0.9, 100, 9), b"new")
    store.record("mine", build.trial(5), build.point(5, 0.6, 40, 40))
    assert [each.id for each in store.frontier("mine")] == [6, 5]
    assert store.correctness("mine") == {5: b"new"}
    assert check(store.url).ok
    with store.database.reading() as session:
        kept = select(FrontierRow.candidate_id).where(FrontierRow.correct.is_not(None))
        assert session.scalars(kept).all() == [5]


def test_failed_candidates_are_kept_apart(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    good = store.record("mine", build.trial(0), build.point(0, 0.1, 99, 99))
    reason = "CUDA out of memory \udcff"
    failed = store.record(
        "mine", build.trial(1), build.candidate(1, {"macs": 5.0}, state="failed", reason=reason)
    )
    assert (failed.state, failed.reason, failed.on_frontier) == ("failed", "CUDA out of memory ?", False)
    bad = store.record("mine", build.trial(2), build.point(2, math.nan, 1, 1))
    assert (bad.state, bad.reason) == ("failed", "objective 'accuracy' is nan")
    assert list(store.candidates("mine")) == [good]
    assert [each.id for each in store.candidates("mine", failed=True)] == [good.id, failed.id, bad.id]
    assert store.select("mine", Budget({"macs": 50.0})).feasible is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": "running"}, "complete, failed, stopped, not 'running'"),
        ({"measurements": (Measurement("a", 1.0), Measurement("a", 2.0))}, "measured twice as a cost"),
        (
            {"measurements": (Measurement("a", 1.0), Measurement("a", 2.0, "validation"))},
            "measured twice as a cost",
        ),
        (
            {"measurements": (Measurement("a", 1.0, "test"), Measurement("a", 2.0, "test"))},
            "twice on the test split",
        ),
    ],
)
def test_contradictions_are_refused(
    store: FrontierStore, build: Any, change: dict[str, Any], message: str
) -> None:
    store.create_search(build.search())
    with pytest.raises(UsageError, match=message):
        store.record("mine", build.trial(0), replace(build.point(0, 1, 1, 1), **change))
    assert store.trials("mine") == []


def test_an_unknown_parent_is_refused_and_nothing_stays(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    with pytest.raises(NotFoundError, match="no candidate 99"):
        store.record("mine", build.trial(0), replace(build.point(0, 1, 1, 1), parent=99))
    build.fill(store, [(0.1, 1, 1)], name="other")
    with pytest.raises(UsageError, match="candidate 1 is of another search"):
        store.record("mine", build.trial(0), replace(build.point(0, 1, 1, 1), parent=1))
    with pytest.raises(StorageError, match=r"cannot hold a value.*not JSON compliant"):
        store.record("mine", build.trial(0, attributes={"x": math.inf}), build.point(0, 1, 1, 1))
    with pytest.raises(StorageError, match="cannot hold a value"):
        store.record("mine", build.trial(2**70), build.point(0, 1, 1, 1))
    assert store.trials("mine") == list(store.candidates("mine", failed=True)) == []
    assert store.search("mine").trials == 0
    assert check(store.url).ok


def test_measurements_are_added_and_replaced(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 10, 10)])
    candidate = store.frontier("mine")[0]
    first = Measurement("accuracy", 0.8, "test", 0.7, 0.9, 50)
    second = Measurement("heat", 3.0, unit="K")
    store.add_measurements(candidate.id, [first, second])
    made = store.add_measurements(candidate.id, [replace(first, value=0.75, low=None)])
    assert made.measurements == (*candidate.measurements, replace(first, value=0.75, low=None), second)
    assert store.candidate(candidate.id) == made
    assert store.select("mine", Budget({"heat": 3.0})).candidate == made


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (Measurement("accuracy", 1.0, "validation"), "'accuracy' is an objective of search 'mine'"),
        (Measurement("accuracy", 1.0), "'accuracy' is an objective"),
        (Measurement("memory_bytes", 1.0), "'memory_bytes' is an objective"),
        (Measurement("heat", 1.0, "validation"), "has 'heat' measured as a cost"),
    ],
)
def test_objectives_cannot_be_replaced(
    store: FrontierStore, build: Any, added: Measurement, message: str
) -> None:
    store.create_search(build.search())
    made = store.record("mine", build.trial(0), build.point(0, 0.9, 10, 10, heat=1.0))
    with pytest.raises(UsageError, match=message):
        store.add_measurements(made.id, [Measurement("fog", 1.0), added])
    assert store.candidate(made.id) == made


def test_the_frontier_comes_cheapest_memory_first(store: FrontierStore, build: Any) -> None:
    points = [(0.9, 100, 10), (0.5, 50, 90), (0.7, 50, 100), (0.1, 10, 200), (0.1, 10, 200), (0.0, 200, 300)]
    build.fill(store, points)
    assert [each.number for each in store.frontier("mine")] == [3, 4, 1, 2, 0]
    assert [each.number for each in store.frontier("mine", Budget({"memory": 50}, {"accuracy": 0.5}))] == [
        1,
        2,
    ]
    # Number 5 is worse than another in every objective; nobody who is better in all is needed to drop it.
    assert [each.number for each in store.frontier("mine", weak=True)] == [3, 4, 1, 2, 0]


def test_the_weak_frontier_has_flags(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 100, 10), (0.9, 100, 20)])
    weak = store.frontier("mine", weak=True)
    assert [(each.number, each.on_frontier) for each in weak] == [(0, True), (1, False)]
    assert [each.number for each in store.frontier("mine")] == [0]


def test_candidates_are_read_in_pages(
    store: FrontierStore, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leanfront.core.storage.reading._PAGE", 3)
    build.fill(store, [(0.1 * number, number, 1) for number in range(6)])
    seen = []
    for candidate in store.candidates("mine"):
        seen.append(candidate.number)
        if candidate.number == 1:
            # A reader that is slow does not keep writers out.
            store.record("mine", build.trial(6), build.point(6, 1.0, 6, 1))
    assert seen == [0, 1, 2, 3, 4, 5, 6]


def test_unknown_objectives_are_refused(store: FrontierStore, build: Any) -> None:
    with pytest.raises(UsageError, match="unknown objective 'speed'"):
        store.create_search(replace(build.search(), objectives=("accuracy", "speed")))
    with pytest.raises(UsageError, match="not 'new'"):
        store.create_search(build.search(state="new"))


def test_threads_share_a_store(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 15):
                store.record("mine", build.trial(number), build.point(number, number % 7, number % 5 + 1, 1))
                store.frontier("mine")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.search("mine").trials == 60
    assert check(store.url).ok


def test_several_stores_see_each_other(store: FrontierStore, url: str, build: Any, tmp_path: Any) -> None:
    with FrontierStore(url) as second, FrontierStore(f"sqlite:///{tmp_path / 'other.db'}") as elsewhere:
        build.fill(store, [(0.9, 10, 10)])
        assert second.frontier("mine") == store.frontier("mine")
        second.record("mine", build.trial(1), build.point(1, 0.95, 10, 10))
        assert [each.number for each in store.frontier("mine")] == [1]
        assert elsewhere.searches() == []
