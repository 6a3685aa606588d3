"""What audits found: one of a kind, gone with what it is about, written by nobody without the lease."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from leanfront.core.search.candidate import SearchRecord
from leanfront.core.storage import AuditRecord, FrontierStore, check
from leanfront.errors import LeaseLostError, NotFoundError


def record(candidate: int | None = None, kind: str = "classes", **more: Any) -> AuditRecord:
    fields: dict[str, Any] = {
        "document": {"rate": 1.5, "names": ["a", "ü"], "gone": None},
        "parameters": {"models": 3},
        "release": "1.0",
    }
    return AuditRecord("mine", kind, candidate=candidate, **{**fields, **more})


def count(store: FrontierStore) -> int:
    with store.database.reading() as session:
        return int(session.scalar(text("SELECT count(*) FROM leanfront_audits")) or 0)


@pytest.fixture
def filled(store: FrontierStore, build: Any) -> FrontierStore:
    """The search `mine` of two candidates, whose ids are 1 and 2."""
    build.fill(store, [(0.9, 100, 10), (0.5, 50, 5)])
    return store


def test_what_is_stored_is_found(filled: FrontierStore) -> None:
    filled.add_audits([record(1), record(2, kind="exemplars"), record(), record(kind="calibration")])
    found = filled.audit("mine", "classes", 1)
    assert found.created
    assert replace(found, created="") == record(1)
    assert [each.kind for each in filled.audits("mine")] == ["calibration", "classes"]
    assert [each.kind for each in filled.audits("mine", 1)] == ["classes"]
    assert [each.kind for each in filled.audits("mine", 2)] == ["exemplars"]
    assert filled.audit("mine", "classes").candidate is None
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert shown == {
        "search": "mine",
        "candidate": 1,
        "kind": "classes",
        "parameters": {"models": 3},
        "release": "1.0",
        "created": found.created,
        "document": {"rate": 1.5, "names": ["a", "ü"], "gone": None},
    }
    assert check(filled.url).ok


def test_the_last_of_a_kind_stays(filled: FrontierStore) -> None:
    filled.add_audits([record(1), record(2), record(), record(1, kind="exemplars")])
    filled.add_audits([record(1, document={"rate": 2.0}), record(document={"rate": 3.0}, release="1.1")])
    assert count(filled) == 4
    assert filled.audit("mine", "classes", 1).document == {"rate": 2.0}
    assert (found := filled.audit("mine", "classes")).document == {"rate": 3.0}
    assert found.release == "1.1"
    # Another candidate's, and another kind's, are as they were.
    assert filled.audit("mine", "classes", 2).document == record().document
    assert filled.audit("mine", "exemplars", 1).document == record().document


def test_what_was_not_audited_is_said_with_the_command(filled: FrontierStore) -> None:
    filled.add_audits([record(1)])
    for kind, candidate, message in (
        ("classes", 2, r"candidate 2 has no audit 'classes' yet: `leanfront audit mine 2 --kind classes`"),
        ("classes", None, r"search 'mine' has no audit 'classes' yet: `leanfront audit mine --kind classes`"),
        ("robustness", 1, r"candidate 1 has no audit 'robustness' yet"),
    ):
        with pytest.raises(NotFoundError, match=message):
            filled.audit("mine", kind, candidate)
    with pytest.raises(NotFoundError, match="no search named 'other'"):
        filled.audits("other")
    with pytest.raises(NotFoundError, match="no search named 'other'"):
        filled.add_audits([AuditRecord("other", "classes", {})])
    assert filled.audits("mine", 2) == []


def test_another_searchs_candidate_is_refused(filled: FrontierStore, build: Any) -> None:
    other: SearchRecord = build.search("other")
    filled.create_search(other)
    theirs = filled.record("other", build.trial(0), replace(build.point(7, 0.9, 1, 1), search="other")).id
    assert theirs is not None
    # All or none: what came before it in one call is not stored either.
    with pytest.raises(NotFoundError, match=f"no candidate {theirs}|candidate {theirs}"):
        filled.add_audits([record(1), record(theirs)])
    with pytest.raises(NotFoundError, match="99"):
        filled.add_audits([record(99)])
    assert count(filled) == 0
    # Nor is it found under another search.
    filled.add_audits([record(1), replace(record(theirs), search="other")])
    assert filled.audits("mine", theirs) == filled.audits("other", 1) == []
    assert len(filled.audits("other", theirs)) == 1


def test_audits_go_with_their_search(filled: FrontierStore, build: Any) -> None:
    filled.create_search(build.search("other"))
    filled.add_audits([record(1), record(), AuditRecord("other", "classes", {"own": True})])
    filled.set_state("mine", "done")
    filled.delete_search("mine")
    assert count(filled) == 1
    assert filled.audit("other", "classes").document == {"own": True}
    assert check(filled.url).ok


def test_audits_go_with_their_candidate(filled: FrontierStore) -> None:
    filled.add_audits([record(1), record(2), record()])
    with filled.database.writing() as session:
        session.execute(text("DELETE FROM leanfront_candidates WHERE id = 2"))
    assert count(filled) == 2
    assert filled.audits("mine", 1)
    assert filled.audits("mine")


def test_who_lost_the_lease_stores_nothing(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search(state="queued"))
    first = store.jobs.claim("first", ["search"], -1.0)
    assert first is not None
    late = store.under(first[1])
    made = late.record("mine", build.trial(0), build.point(0, 0.9, 10, 10))
    late.add_audits([record(made.id)])
    second = store.jobs.claim("second", ["search"], 600.0)
    assert second is not None
    with pytest.raises(LeaseLostError, match="last held by second"):
        late.add_audits([record(made.id, document={"rate": 9.0})])
    assert store.audit("mine", "classes", made.id).document == record().document
    store.under(second[1]).add_audits([record(made.id, document={"rate": 9.0})])
    assert late.audit("mine", "classes", made.id).document == {"rate": 9.0}


def test_large_documents(filled: FrontierStore) -> None:
    gallery = [{"image": f"{place}" * 8000} for place in range(100)]
    filled.add_audits([record(1, document={"gallery": gallery})])
    assert filled.audit("mine", "classes", 1).document == {"gallery": gallery}
