from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from leanfront.core.objectives import Measurement
from leanfront.core.storage import FrontierStore, check, require_name
from leanfront.core.storage.tables import FrontierRow
from leanfront.errors import NameTakenError, NotFoundError, StorageError, UsageError
from leanfront.testing import StoreConformance


class TestFrontierStore(StoreConformance):
    """Once in a SQLite file, and once in PostgreSQL."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[FrontierStore]:
        with FrontierStore(url) as opened:
            yield opened
            assert check(url).ok

    @pytest.fixture
    def reopen(self, store: FrontierStore, url: str) -> Iterator[Callable[[], FrontierStore]]:
        with ExitStack() as stack:
            yield lambda: stack.enter_context(FrontierStore(url))


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "\0", "z" * 101, "a\u2028b", "\ud800", 5, None])
def test_names_that_cannot_be_are_refused(store: FrontierStore, build: Any, name: Any) -> None:
    with pytest.raises(UsageError, match="a search's name"):
        require_name(name)
    with pytest.raises(UsageError, match="a search's name"):
        store.create_search(replace(build.search(), name=name))
    assert store.searches() == []


def test_errors_say_what_to_do(store: FrontierStore, build: Any) -> None:
    with pytest.raises(NotFoundError, match=r"no search named 'mine': the database has none yet"):
        store.search("mine")
    build.fill(store, [(0.9, 10, 10)])
    with pytest.raises(NameTakenError, match=r"named 'mine' exists.*leanfront resume mine"):
        store.create_search(build.search())
    build.fill(store, [(0.9, 10, 10)], name="two")
    with pytest.raises(NotFoundError, match=r"no search named 'three'; there are: two, mine"):
        store.search("three")
    with pytest.raises(NotFoundError, match="no candidate 7"):
        store.candidate(7)
    with pytest.raises(UsageError, match="trial 0 of search 'mine' is stored already"):
        store.record("mine", build.trial(0), build.point(1, 1, 1, 1))
    with pytest.raises(UsageError, match="'accuracy' is an objective of search 'mine'"):
        store.add_measurements(1, [Measurement("accuracy", 1.0)])


def test_messages_are_made_plain_and_values_checked(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    store.set_state("mine", "failed", "bad \udcff name\0")
    assert store.search("mine").message == "bad ? name?"
    with pytest.raises(UsageError, match="not 'finished'"):
        store.set_state("mine", "finished")
    with pytest.raises(UsageError, match="must be finite, not nan"):
        store.set_hypervolume("mine", math.nan, 1.0)
    told = build.candidate(0, {}, state="failed", reason="CUDA out of memory \udcff")
    assert store.record("mine", build.trial(0), told).reason == "CUDA out of memory ?"


def test_a_stopped_candidate_without_a_value_is_a_failed_one(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    bad = store.record("mine", build.trial(3), replace(build.point(3, math.nan, 1, 1), state="stopped"))
    assert (bad.state, bad.reason) == ("failed", "objective 'accuracy' is nan")


def test_correctness_that_nobody_asks_for_is_dropped(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    for number, point in enumerate([(0.9, 100, 10), (0.5, 50, 50), (0.9, 100, 20), (0.9, 100, 9)]):
        store.record("mine", build.trial(number), build.point(number, *point), bytes([number]))
    with store.database.reading() as session:
        kept = select(FrontierRow.candidate_id).where(FrontierRow.correct.is_not(None))
        assert sorted(session.scalars(kept)) == sorted(store.correctness("mine")) == [2, 4]


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


def test_what_cannot_be_stored_leaves_nothing(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
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


def test_a_cost_and_a_metric_of_one_name_are_refused(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    made = store.record("mine", build.trial(0), build.point(0, 0.9, 10, 10, heat=1.0))
    with pytest.raises(UsageError, match="has 'heat' measured as a cost"):
        store.add_measurements(made.id, [Measurement("fog", 1.0), Measurement("heat", 1.0, "validation")])
    with pytest.raises(UsageError, match="'memory_bytes' is an objective"):
        store.add_measurements(made.id, [Measurement("memory_bytes", 1.0, "validation")])
    assert store.candidate(made.id) == made


def test_ties_in_memory_go_by_macs_accuracy_and_id(store: FrontierStore, build: Any) -> None:
    points = [(0.9, 100, 10), (0.5, 50, 90), (0.7, 50, 100), (0.1, 10, 200), (0.1, 10, 200), (0.0, 200, 300)]
    build.fill(store, points)
    assert [each.number for each in store.frontier("mine")] == [3, 4, 1, 2, 0]
    # Number 5 is worse than another in every objective; nobody who is better in all is needed to drop it.
    assert [each.number for each in store.frontier("mine", weak=True)] == [3, 4, 1, 2, 0]


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
