"""Audits and measuring by workers: on both databases, stopped and taken up again, cancelled, fenced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import leanfront
from leanfront.core.search import Candidate
from leanfront.core.storage import AuditRecord, FrontierStore, Job
from leanfront.core.storage.jobs import AUDIT, MEASURE
from leanfront.core.targets import Target, resolve
from leanfront.errors import LeaseLostError
from leanfront.worker.handlers import HANDLERS
from leanfront.worker.runner import Runner
from leanfront.worker.settings import WorkerSettings
from tests.leanfront.runners import running, wait_for

PICTURED = Path(__file__).parents[1] / "pictured.py"
SMALL = {"models": 3, "samples": 40, "gallery": 4}
LONG = {"models": 1000, "gallery": 0}


@pytest.fixture(scope="module")
def target() -> Target:
    return resolve(f"{PICTURED}:target")


@pytest.fixture
def store(
    any_url: str, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FrontierStore]:
    """A database of either kind, with a finished search, `mine`; and a cache of this test's own."""
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path / "cache"))
    leanfront.search(target, name="mine", trials=5, sampler="random", database=any_url)
    with FrontierStore(any_url) as opened:
        yield opened


sqlite = pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)
"""For tests of what does not depend on the kind of database."""


def queue(store: FrontierStore, *kinds: str, candidate: Candidate | None = None, **options: Any) -> Job:
    parameters: dict[str, Any] = {"kinds": list(kinds), "options": options}
    if candidate is None:
        parameters["candidates"] = []
    identifier = None if candidate is None else candidate.id
    return store.jobs.queue(AUDIT, "mine", candidate=identifier, parameters=parameters)


def answers(tmp_path: Path) -> dict[Path, int]:
    """The files in which models' answers are kept, with the number of each: one that is written again has another."""
    found = (tmp_path / "cache" / "answers").rglob("[!.]*.safetensors")
    return {path: path.stat().st_ino for path in found}


def told(records: list[AuditRecord]) -> list[dict[str, Any]]:
    """Audits without when they were made."""
    found = [each.to_json() | {"created": None} for each in records]
    return sorted(found, key=lambda each: (each["kind"], each["candidate"] or 0))


def test_a_worker_audits(store: FrontierStore, target: Target, any_url: str) -> None:
    """The frontier together, and a candidate by itself: what Python finds by itself."""
    members = store.frontier("mine")
    job = queue(store, "classes", "robustness", **SMALL)
    alone = queue(store, "calibration", candidate=members[0], **SMALL)
    assert Runner(store, WorkerSettings(device="cpu")).run(once=True) == 2
    done = store.jobs.job(job.id)
    assert done.state == "done", done.message
    of = ", ".join(f"candidate {each.id}" for each in sorted(members, key=lambda each: -(each.accuracy or 0)))
    assert done.message == f"audited (classes, robustness): {of}"
    assert store.jobs.job(alone.id).message == f"audited (calibration): candidate {members[0].id}"
    assert {each.kind for each in store.audits("mine", members[0].id)} == {
        "calibration",
        "classes",
        "robustness",
    }
    # The metrics that belong to the audits are measured, and on those candidates alone.
    measured = {each.id for each in store.candidates("mine") if each.value("mce") is not None}
    assert measured == {each.id for each in members}
    kept = [record for each in (None, *members) for record in store.audits("mine", each and each.id)]
    result = leanfront.SearchResult(store, "mine", target)
    again = result.audit(kinds=("classes", "robustness"), device="cpu", **SMALL)
    again += result.audit(members[0].id or 0, kinds="calibration", device="cpu", **SMALL)
    assert told(again) == told(kept)


def test_stopped_it_goes_on_where_it_was(store: FrontierStore, tmp_path: Path) -> None:
    member = store.frontier("mine")[0]
    job = queue(store, "classes", candidate=member, **LONG)
    runner, thread = running(store)
    wait_for(lambda: len(answers(tmp_path)) > 4, "answers of some models")
    runner.stop()
    thread.join(60)
    assert not thread.is_alive()
    given = store.jobs.job(job.id)
    assert (given.state, given.lease_until, given.attempts) == ("queued", None, 0)
    assert store.audits("mine", member.id) == []
    first = len(answers(tmp_path))
    assert first < 2 * LONG["models"]
    _, thread = running(store)
    wait_for(lambda: len(answers(tmp_path)) > first, "answers of more models")
    store.jobs.cancel(job.id)
    thread.join(60)
    assert not thread.is_alive()
    assert store.jobs.job(job.id).state == "cancelled"
    assert store.audits("mine", member.id) == []


@sqlite
def test_what_was_computed_before_a_stop_is_not_computed_again(
    store: FrontierStore, target: Target, tmp_path: Path
) -> None:
    member = store.frontier("mine")[0]
    job = queue(store, "classes", candidate=member, **SMALL)
    calls = iter(range(100))
    assert HANDLERS[AUDIT](job, store, WorkerSettings(device="cpu"), lambda: next(calls) > 2) is None
    half = answers(tmp_path)
    assert 0 < len(half) < 2 * SMALL["models"]
    Runner(store, WorkerSettings(device="cpu")).run(once=True)
    assert store.jobs.job(job.id).state == "done"
    whole = answers(tmp_path)
    assert half.items() < whole.items()
    assert len(whole) == 2 * SMALL["models"]
    (found,) = store.audits("mine", member.id)
    (tmp_path / "cache").rename(tmp_path / "aside")
    result = leanfront.SearchResult(store, "mine", target)
    anew = result.audit(member.id or 0, kinds="classes", device="cpu", **SMALL)
    assert anew[0].document == found.document


def test_a_late_worker_writes_nothing(store: FrontierStore) -> None:
    """Its lease is another's by the time it has found something."""
    member = store.frontier("mine")[0]
    queue(store, "calibration", candidate=member, **SMALL)
    query = {"maximum": {"flip_rate": 1.0}, "minimum": {}}
    store.jobs.queue(MEASURE, "mine", parameters=query)
    for kind in (AUDIT, MEASURE):
        claimed = store.jobs.claim("early", [kind], seconds=0.01)
        assert claimed is not None
        time.sleep(0.05)
        assert store.jobs.claim("second", [kind]) is not None
        job, lease = claimed
        with pytest.raises(LeaseLostError, match="early does not hold job"):
            HANDLERS[kind](job, store.under(lease), WorkerSettings(device="cpu"), lambda: False)
    assert store.audits("mine", member.id) == []
    assert all(each.value("flip_rate") is None for each in store.candidates("mine"))


@sqlite
def test_measuring_stops_between_two_candidates(store: FrontierStore) -> None:
    query = {
        "maximum": {"flip_rate": -1.0},
        "minimum": {},
        "strategy": "accuracy",
        "stage": "after",
        "most": 9,
    }
    job = store.jobs.queue(MEASURE, "mine", parameters=query)
    calls = iter(range(100))
    assert HANDLERS[MEASURE](job, store, WorkerSettings(device="cpu"), lambda: next(calls) > 1) is None
    assert sum(each.value("flip_rate") is not None for each in store.candidates("mine")) == 2
    assert Runner(store, WorkerSettings(device="cpu")).run(once=True) == 1
    done = store.jobs.job(job.id)
    rest = len(list(store.candidates("mine"))) - 2
    assert done.state == "done"
    assert done.message is not None
    assert done.message.startswith("measured candidates ")
    assert done.message.partition(";")[0].count(",") == rest - 1
    assert "no candidate is within the budget" in done.message
    assert all(each.value("flip_rate") is not None for each in store.candidates("mine"))
    # Asked again there is nothing to do.
    job = store.jobs.queue(MEASURE, "mine", parameters=query)
    Runner(store, WorkerSettings(device="cpu")).run(once=True)
    assert (store.jobs.job(job.id).message or "").startswith("nothing to measure; no candidate is within")


@sqlite
def test_what_a_worker_cannot_audit_is_failed_with_the_reason(store: FrontierStore, tmp_path: Path) -> None:
    for kinds, options, words in (
        (["beauty"], {}, "unknown kind of audit: beauty"),
        (["classes"], {"models": 0}, "models must be a whole number"),
        (["classes"], {"colour": "red"}, "colour"),
        (["classes"], {"population": "trained"}, "'pictured' cannot be trained anew"),
        (["robustness"], {"shift": str(tmp_path)}, "'shift' names files"),
    ):
        job = queue(store, *kinds, **options)
        Runner(store, WorkerSettings(device="cpu")).run(once=True)
        found = store.jobs.job(job.id)
        assert found.state == "failed"
        assert words in (found.message or ""), found.message
    assert store.audits("mine") == []
