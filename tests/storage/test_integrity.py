from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leanfront.core.storage import FrontierStore, check
from leanfront.errors import StorageError

POINTS = [(0.9, 100, 10), (0.9, 100, 20), (0.5, 50, 50), (0.4, 60, 60)]


@pytest.fixture
def tamper(store: FrontierStore, build: Any) -> Callable[[str], None]:
    """Runs SQL behind the store's back, without foreign keys; the database holds `POINTS`."""
    build.fill(store, POINTS)

    def run(sql: str) -> None:
        raw: Any = store.database.engine.raw_connection()
        own = store.database.is_sqlite
        raw.cursor().execute("PRAGMA foreign_keys = OFF" if own else "SET session_replication_role = replica")
        for statement in sql.split(";"):
            raw.cursor().execute(statement)
        raw.commit()
        raw.close()
        store.close()

    return run


def test_a_sound_database_passes(store: FrontierStore, url: str, build: Any) -> None:
    build.fill(store, POINTS)
    build.fill(store, [], name="empty")
    store.record("mine", build.trial(4), build.candidate(9, {}, state="failed", reason="x"))
    store.record("mine", build.trial(5), build.point(0, 0.9, 100, 10))
    # Better than all, as far as it was seen: not a candidate for the frontier all the same.
    store.record("mine", build.trial(6), replace(build.point(7, 0.99, 1, 1), state="stopped"))
    # Recovered from the third, which it beats in everything.
    store.add_recovered(replace(build.point(8, 0.6, 49, 49), parent=3))
    report = check(url)
    assert report.ok
    mine, empty = report.searches
    assert (mine.trials, mine.candidates, mine.failed, mine.stopped) == (7, 5, 1, 1)
    # The second point is beaten in MACs alone, so it is on the weak front only.
    assert (mine.frontier_size, mine.weak_size) == (2, 3)
    assert (empty.trials, empty.candidates) == (0, 0)
    shown = json.loads(json.dumps(report.to_json()))
    assert shown["ok"] is True
    assert shown["searches"][0]["name"] == "mine"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("UPDATE leanfront_searches SET trials = 9", "counts 9 trials but has 4"),
        ("UPDATE leanfront_searches SET frontier_size = 9", "counts 9 frontier members but has 2"),
        ("UPDATE leanfront_frontier SET strict_after = true", "frontier of search 'mine' holds candidate 2"),
        (
            "UPDATE leanfront_frontier SET strict_before = true",
            "frontier of search 'mine' before recovery holds candidate 2",
        ),
        (
            "UPDATE leanfront_frontier SET strict_before = NULL WHERE candidate_id = 3",
            "weak frontier of search 'mine' before recovery lacks candidate 3",
        ),
        ("DELETE FROM leanfront_frontier WHERE candidate_id = 3", "lacks candidate 3"),
        (
            "INSERT INTO leanfront_frontier (candidate_id, search_id, v0, v1, v2, strict_before, strict_after) "
            "VALUES (4, 1, -0.4, 60, 60, NULL, false)",
            "the weak frontier of search 'mine' holds candidate 4",
        ),
        ("UPDATE leanfront_frontier SET v1 = 1 WHERE candidate_id = 1", "other values than candidate 1"),
        (
            "UPDATE leanfront_candidates SET parent = 1 WHERE id = 3",
            "frontier of search 'mine' before recovery holds candidate 3",
        ),
        (
            "UPDATE leanfront_candidates SET state = 'stopped' WHERE id = 3",
            "holds candidate 3, which is dominated",
        ),
        (
            "UPDATE leanfront_frontier SET correct = 'a' WHERE candidate_id = 2",
            "keeps the correctness of 1",
        ),
        (
            "UPDATE leanfront_candidates SET objective_values = NULL WHERE id = 4",
            "candidate 4 is complete but lacks",
        ),
        ("DELETE FROM leanfront_candidates WHERE id = 4", "3 measurements without a candidate"),
        ("DELETE FROM leanfront_candidates WHERE id = 4", "1 trials without a candidate"),
        ("DELETE FROM leanfront_searches", "4 candidates without a search"),
        ("UPDATE leanfront_candidates SET parent = 77 WHERE id = 2", "1 candidates without their parent"),
        ("DELETE FROM leanfront_jobs", "has 0 jobs that drive it, not one"),
        ("UPDATE leanfront_jobs SET search_id = 77", "1 jobs without a search"),
        ("UPDATE leanfront_jobs SET candidate_id = 77", "1 jobs without their candidate"),
        (
            "INSERT INTO leanfront_verifications VALUES (77, true, '[]', '{}', '1', '2025-01-01 00:00:00')",
            "1 verifications without a candidate",
        ),
        (
            "INSERT INTO leanfront_audits VALUES (1, 1, 77, 'classes', '{}', '{}', '1', '2025-01-01 00:00:00')",
            "1 audits without their candidate",
        ),
        (
            "INSERT INTO leanfront_audits VALUES (1, 77, NULL, 'classes', '{}', '{}', '1', '2025-01-01 00:00:00')",
            "1 audits without a search",
        ),
        (
            "INSERT INTO leanfront_candidate_artifacts VALUES (77, 'onnx', 'a', '2025-01-01 00:00:00', false)",
            "1 files without their candidate",
        ),
        ("UPDATE leanfront_jobs SET state = 'done'", "is running, but the job that drives it is done"),
        ("UPDATE leanfront_jobs SET local = false", "1 jobs run without a lease"),
        (
            "UPDATE leanfront_jobs SET lease_until = created, runner = NULL",
            "1 jobs have a lease that nobody holds",
        ),
        (
            "UPDATE leanfront_jobs SET lease_until = created, runner = 'x'",
            "1 jobs have a lease but were never claimed",
        ),
        (
            "UPDATE leanfront_jobs SET lease_until = created, runner = 'x', state = 'queued'",
            "1 jobs have a lease but do not run",
        ),
        ("UPDATE leanfront_trials SET sequence = 9 WHERE number = 1", "not counted from 1 without gaps"),
        ("UPDATE leanfront_trials SET candidate_id = 1", "a candidate that two trials made"),
        ("UPDATE leanfront_trials SET duplicate = true WHERE number = 1", "no trial made candidate 2"),
        ("UPDATE leanfront_trials SET entered = false", "do not say rightly which came onto the frontier"),
    ],
)
def test_what_is_wrong_is_found(tamper: Callable[[str], None], url: str, sql: str, message: str) -> None:
    assert check(url).ok
    tamper(sql)
    report = check(url)
    assert not report.ok
    assert any(message in problem for problem in report.problems), report.problems


def test_a_damaged_index_is_found(file_store: FrontierStore, tmp_path: Path, build: Any) -> None:
    build.fill(file_store, POINTS)
    file_store.close()
    connection = sqlite3.connect(tmp_path / "leanfront.db")
    # An index without its entries: what a bad disk or a bug of SQLite would leave.
    connection.executescript(
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET sql = replace(sql, 'split, value', 'value, split') "
        "WHERE name = 'ix_leanfront_measurements_search_id_name_split_value';"
    )
    connection.commit()
    connection.close()
    report = check(file_store.url)
    assert any("SQLite finds damage" in problem for problem in report.problems), report.problems


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no database"):
        check(f"sqlite:///{tmp_path / 'x.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_others_has_no_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE trials (a)")
    connection.commit()
    connection.close()
    report = check(f"sqlite:///{path}")
    assert (report.ok, report.schema) == (False, None)
    assert "leanfront database upgrade" in report.problems[0]
