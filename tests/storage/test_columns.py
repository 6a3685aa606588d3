"""Candidates in columns: what their records say, in lists."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from leanfront.core.objectives import Measurement
from leanfront.core.search.candidate import Candidate
from leanfront.core.storage import FrontierStore
from leanfront.errors import NotFoundError, UsageError


@pytest.fixture
def mixed(store: FrontierStore, build: Any) -> FrontierStore:
    """`mine` and `other`, whose candidates lie between each other, of every state; one was recovered."""
    dense = (Measurement("mce", 1.0, "validation", 0.9, 1.1), Measurement("accuracy", 0.9, "test"))
    for name in ("mine", "other"):
        store.create_search(build.search(name, dense=dense))
    for number in range(12):
        point = build.point(number, 0.1 * (number % 7), number + 1.0, 50.0 - number, heat=float(number))
        more = (Measurement("accuracy", 0.5, "test", 0.4, 0.6),) if number % 3 == 0 else ()
        state = "stopped" if number == 4 else "complete"
        found = replace(point, state=state, measurements=(*point.measurements, *more))
        store.record("mine", build.trial(number), found)
        store.record("other", build.trial(number), replace(found, search="other"))
    store.record("mine", build.trial(20), build.candidate(20, {"accuracy": 0.1}, state="failed", reason="no"))
    odd = (Measurement("fog", math.nan, unit="m"), Measurement("rain", math.inf, low=-math.inf))
    store.add_measurements(3, odd)
    child = replace(build.point(30, 0.99, 2.0, 3.0), parent=1)
    store.add_recovered(child)
    return store


def own(store: FrontierStore) -> list[Candidate]:
    return list(store.candidates("mine", failed=True))


def test_columns_tell_what_the_records_do(mixed: FrontierStore) -> None:
    records = own(mixed)
    found = mixed.columns("mine", "accuracy", "memory", "heat", "accuracy:test", "mce")
    assert found.search == "mine"
    assert found.frontier_version == mixed.search("mine").frontier_version
    assert found.ids == tuple(each.id for each in records)
    assert found.trials == tuple(each.number for each in records)
    assert found.states == tuple(each.state for each in records)
    assert set(found.states) == {"complete", "stopped", "failed"}
    assert found.on_frontier == tuple(each.on_frontier for each in records)
    assert found.parents == tuple(each.parent for each in records)
    assert found.parents[-1] == 1
    assert found.last is None
    # Only the dense model has it.
    assert found.columns["mce"].value == (None,) * len(records)
    assert (found.columns["mce"].split, found.columns["mce"].unit) == ("validation", "1")


def test_a_column_is_what_each_candidate_has_measured(mixed: FrontierStore) -> None:
    records = own(mixed)
    asked = {"accuracy": "validation", "memory": "", "heat": "", "accuracy:test": "test"}
    found = mixed.columns("mine", *asked)
    assert list(found.columns) == list(asked)
    for name, split in asked.items():
        column = found.columns[name]
        wanted = {"memory": "memory_bytes"}.get(name, name.partition(":")[0])
        assert (column.name, column.split) == (wanted, split)
        rows = [each.measurement(wanted, split) for each in records]
        assert column.value == tuple(None if row is None else row.value for row in rows)
        assert column.low == tuple(None if row is None else row.low for row in rows)
        assert column.high == tuple(None if row is None else row.high for row in rows)
    assert None in found.columns["accuracy:test"].value
    assert 0.4 in found.columns["accuracy:test"].low
    assert mixed.columns("mine", "accuracy:validation").columns["accuracy:validation"].value == (
        found.columns["accuracy"].value
    )


def test_without_names_the_objectives(mixed: FrontierStore) -> None:
    assert list(mixed.columns("mine").columns) == ["accuracy", "memory_bytes", "macs"]


def test_numbers_that_json_has_not_are_none(mixed: FrontierStore) -> None:
    found = mixed.columns("mine", "fog", "rain").columns
    for column in found.values():
        assert set(column.value + column.low + column.high) == {None}
    assert found["fog"].unit == "m"


@pytest.mark.parametrize("limit", [1, 5, 14, 100])
def test_pages_are_the_whole(mixed: FrontierStore, limit: int) -> None:
    def pages() -> Iterator[Any]:
        last: int | None = 0
        while last is not None:
            page = mixed.columns("mine", "heat", after=last, limit=limit)
            yield page
            last = page.last

    whole, found = mixed.columns("mine", "heat"), list(pages())
    assert tuple(each for page in found for each in page.ids) == whole.ids
    assert tuple(each for page in found for each in page.columns["heat"].value) == whole.columns["heat"].value
    assert all(0 < len(page.ids) <= limit for page in found)


def test_what_nobody_has_measured_is_refused(mixed: FrontierStore, build: Any) -> None:
    words = (
        "no column fogg, heat:test: .* measured are mce, accuracy:test, accuracy, fog, heat, macs, memory_by"
    )
    with pytest.raises(UsageError, match=words):
        mixed.columns("mine", "accuracy", "fogg", "heat:test")
    with pytest.raises(NotFoundError):
        mixed.columns("nobody")
    # Of one that waits, nothing is known but its objectives.
    mixed.create_search(build.search("waits", state="queued", dense=()))
    found = mixed.columns("waits", "memory", "accuracy")
    assert (found.ids, found.columns["accuracy"].split, found.columns["memory"].split) == (
        (),
        "validation",
        "",
    )
    with pytest.raises(UsageError, match="measured are nothing yet"):
        mixed.columns("waits", "mce")
