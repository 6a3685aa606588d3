"""No query looks at all candidates or measurements: what the databases say of how they would answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from leanfront.core.objectives import Budget, Measurement
from leanfront.core.search.candidate import STAGES
from leanfront.core.storage import FrontierStore, nearest, wide
from leanfront.errors import UsageError
from tests.statements import statements

SMALL = {"leanfront_runners", "leanfront_jobs", "leanfront_searches"}
"""Tables that may be gone through: a few rows a process, a search or a job."""


def scanned(store: FrontierStore, statement: str, given: Any) -> list[str]:
    """Lines of the plan that go through a whole table, or through all of one measurement."""
    raw: Any = store.database.engine.raw_connection()
    cursor = raw.cursor()
    try:
        if store.database.is_sqlite:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", given)
            lines = [row[3] for row in cursor.fetchall()]
            bad = [line for line in lines if line.startswith("SCAN leanfront_")]
            # The values of one measurement in order are walked from an end, or the walk has an end.
            walk = "(search_id=? AND name=? AND split=?)"
            bad += [line for line in lines if line.endswith(walk) and "COVERING" not in line]
            # Those without a parent are nearly all; the recovered ones are found among all by an index of their own.
            bad += [line for line in lines if "candidates_parent" in line]
            every = "USING INDEX ix_leanfront_candidates_search_id_id (search_id=?)"
            bad += [line for line in lines if line.endswith(every)]
        else:
            # So few rows would be read one after the other; with many it would choose what is left now.
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {statement}", given)
            lines = [row[0] for row in cursor.fetchall()]
            bad = [line for line in lines if "Seq Scan on leanfront_" in line]
    finally:
        raw.rollback()
        raw.close()
    return [line for line in bad if not any(table in line for table in SMALL)]


def test_no_query_scans_candidates(store: FrontierStore, build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create_search(build.search())
    points = [(0.01 * k, k + 1, 50 - k) for k in range(40)] + [(0.0, 60, 60 + k) for k in range(40)]
    entries = [
        (build.trial(number), build.point(number, *point, file_bytes=point[1] * 2.0, heat=number % 7), None)
        for number, point in enumerate(points)
    ]
    store.record_many("mine", entries)
    for parent in (5, 6):
        recovered = replace(build.point(800 + parent, 0.5, parent, 50 - parent, heat=1.0), parent=parent)
        store.record("mine", build.trial(800 + parent), recovered)
    digest = build.configuration(3).digest
    audit = store.jobs.queue("audit", "mine", candidate=1)
    calls: dict[str, Callable[[], object]] = {
        "search": lambda: store.search("mine"),
        "searches": lambda: store.searches(after=0, limit=5),
        "record": lambda: store.record("mine", build.trial(900), build.point(900, 0.0, 0.5, 55)),
        "record, demoting": lambda: store.record("mine", build.trial(901), build.point(901, 0.0, 0.5, 54)),
        "find": lambda: store.find("mine", digest),
        "trials": lambda: store.trials("mine"),
        "events": lambda: store.events("mine", 5, 10),
        "correctness": lambda: store.correctness("mine"),
        "candidate": lambda: store.candidate(5),
        "candidates": lambda: next(store.candidates("mine")),
        "add_measurements": lambda: store.add_measurements(5, [Measurement("fog", 1.0)]),
        "frontier": lambda: store.frontier("mine", weak=True),
        "frontier, capped": lambda: store.frontier("mine", Budget({"file_size": 20.0})),
        "frontier_page": lambda: store.frontier_page("mine", limit=10, order_by="heat"),
        "frontier, before": lambda: store.frontier("mine", weak=True, stage="before"),
        "neighbours": lambda: store.neighbours(5),
        "columns": lambda: store.columns("mine", "accuracy", "heat", after=5, limit=10),
        "select": lambda: store.select("mine", Budget({"memory": 20.0})),
        "select, knee": lambda: store.select("mine", Budget({"memory": 20.0}), strategy="knee"),
        "select, infeasible": lambda: store.select("mine", Budget({"memory": 0.1})),
        "select, file size": lambda: store.select("mine", Budget({"file_size": 20.0})),
        "select, again": lambda: store.select("mine", Budget({"file_size": 20.0})),
        "select, before": lambda: store.select("mine", Budget({"file_size": 20.0}), stage="before"),
        "record, recovered": lambda: store.record(
            "mine", build.trial(902), replace(build.point(902, 0.6, 0.4, 40), parent=7)
        ),
        "recovered": lambda: store.recovered("mine"),
        "recovered of one": lambda: store.recovered("mine", 5),
        "set_hypervolume": lambda: store.set_hypervolume("mine", 1.0, 1.0),
        "set_state": lambda: store.set_state("mine", "running"),
        "claim": lambda: store.jobs.claim("x", ["audit"]),
        "cancel": lambda: store.jobs.cancel(audit.id),
        "runners": lambda: store.jobs.runners(),
        "counts": lambda: store.jobs.counts(),
    }
    for name, call in calls.items():
        with monkeypatch.context() as patch:
            patch.setattr("leanfront.core.storage.reading._PAGE", 20)
            found = statements(store, call)
        assert found, name
        bad = {statement: lines for statement, given in found if (lines := scanned(store, statement, given))}
        assert not bad, (name, bad)
    # What is not measured is said without going through what is.
    with pytest.raises(UsageError, match="measured are accuracy, file_bytes, fog, heat, macs, memory_bytes"):
        store.select("mine", Budget({"nothing": 1.0}))
    with pytest.raises(UsageError, match="measured are accuracy, file_bytes, fog, heat, macs, memory_bytes"):
        store.columns("mine", "nothing")
    # Where a widened frontier would be too large, lists are walked in the index's order.
    monkeypatch.setattr(wide, "MOST_ROWS", -1)
    monkeypatch.setattr(nearest, "STEP", 5)
    with FrontierStore(store.database.engine.url.render_as_string(hide_password=False)) as walking:
        budgets = Budget({"heat": 3.0, "macs": 30.0}), Budget({"heat": -1.0, "macs": 1.0})
        for budget, stage in itertools.product(budgets, STAGES):
            asked = lambda budget=budget, stage=stage: walking.select("mine", budget, stage=stage)  # noqa: E731
            for statement, given in statements(walking, asked):
                assert "ORDER BY" not in statement or not scanned(walking, statement, given)
    assert statements(store, lambda: store.delete_search("mine"))
