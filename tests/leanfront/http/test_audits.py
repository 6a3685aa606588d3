"""Audits over a real socket, done by a real worker; and budgets on what only audits measure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import TypeAdapter

from leanfront.core import search as searching
from leanfront.core.audit import PATHS, AuditOptions
from leanfront.core.search import SearchOptions
from leanfront.core.storage import AuditRecord, FrontierStore
from leanfront.core.storage.jobs import AUDIT, MEASURE
from leanfront.core.targets import resolve
from leanfront.core.targets.registry import Registry
from leanfront.errors import LeanfrontError, NotFoundError, UsageError
from leanfront.http.schemas.audits import Audit, AuditRow
from leanfront.http.schemas.selections import Feasible, Infeasible
from leanfront.local.search_result import SearchResult
from leanfront.remote.client import Client
from leanfront.remote.search import RemoteSearch
from leanfront.worker.runner import Runner
from leanfront.worker.settings import WorkerSettings
from tests.leanfront.runners import working

API = "/api/v1"
SMALL = {"models": 3, "samples": 40, "gallery": 4}
PICTURED = Path(__file__).parents[1] / "pictured.py"


def registry(tiny_file: Path) -> Registry:
    return Registry.of([f"pictured={PICTURED}:target", f"tiny={tiny_file}:target"])


@pytest.fixture(scope="module")
def searched(tiny_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database and files: `mine` on a target that knows its pixels, `bare` on one that does not."""
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch, FrontierStore(f"sqlite:///{folder}/own.db") as store:
        patch.setenv("LEANFRONT_ARTIFACTS", str(folder / "artifacts"))
        options = SearchOptions(trials=8, sampler="random")
        for name, target, file in (("mine", "pictured", PICTURED), ("bare", "tiny", tiny_file)):
            store.create_search(searching.queued(name, f"{file}:target", options, registered=target))
        Runner(store, WorkerSettings(registry(tiny_file))).run(once=True)
        assert [each.state for each in store.searches()] == ["done", "done"]
    return folder


@pytest.fixture
def url(own: FrontierStore, serving: Callable[..., Any], tiny_file: Path) -> Iterator[str]:
    with serving(own, registry(tiny_file)) as address:
        yield address


def told(record: AuditRecord) -> dict[str, Any]:
    """An audit without when it was made."""
    return {key: value for key, value in record.to_json().items() if key != "created"}


def test_auditing_a_candidate(url: str, mine: RemoteSearch, own: FrontierStore, tiny_file: Path) -> None:
    candidate = mine.frontier()[0]
    path = f"{url}{API}/candidates/{candidate.id}/audits"
    assert httpx2.get(path).json() == []
    missing = httpx2.get(f"{path}/classes")
    assert missing.status_code == 404
    assert (
        f'POST {{"kinds": ["classes"]}} to {API}/candidates/{candidate.id}/audits' in missing.json()["detail"]
    )
    wanted = {"kinds": ["classes", "calibration"], **SMALL}
    answer = httpx2.post(path, json=wanted)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["candidate"], job["state"]) == ("audit", candidate.id, "queued")
    assert answer.headers["location"] == f"{API}/jobs/{job['id']}"
    # The same again is the same job, said in other words, too; other settings are another.
    assert httpx2.post(path, json={**wanted, "seed": 0}).json()["id"] == job["id"]
    other = httpx2.post(path, json={**wanted, "seed": 1}).json()
    assert other["id"] != job["id"]
    own.jobs.cancel(other["id"])
    with working(own, registry(tiny_file)), Client(url) as client:
        found = client.audit(candidate.id or 0, kinds=wanted["kinds"], timeout=120, **SMALL)
    done = own.jobs.job(job["id"])
    assert (done.state, done.message) == ("done", f"audited (classes, calibration): candidate {candidate.id}")
    # What Python finds by itself is the same.
    twin = SearchResult(own, "mine", resolve(f"{PICTURED}:target"))
    expected = twin.audit(candidate.id or 0, kinds=wanted["kinds"], device="cpu", **SMALL)
    assert [told(each) for each in found] == [told(each) for each in expected if each.candidate is not None]
    rows = httpx2.get(path).json()
    assert [row["kind"] for row in rows] == ["calibration", "classes"]
    whole = httpx2.get(f"{path}/classes")
    assert {**rows[1], "document": whole.json()["document"]} == whole.json()
    assert rows[1]["parameters"]["models"] == 3
    for value, model in ((rows, list[AuditRow]), (whole.json(), Audit)):
        adapter: TypeAdapter[Any] = TypeAdapter(model)
        assert adapter.dump_python(adapter.validate_python(value), mode="json", exclude_unset=True) == value
    for address, answer in ((path, httpx2.get(path)), (f"{path}/classes", whole)):
        again = httpx2.get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    with Client(url) as client:
        assert [each.kind for each in client.audits(candidate.id or 0)] == ["calibration", "classes"]
        assert (
            [told(each) for each in client.audits("mine")]
            == [told(each) for each in own.audits("mine")]
            != []
        )
        assert client.open_search("mine").audits(candidate.id) == client.candidate(candidate.id or 0).audits()


def test_a_budget_on_what_nobody_has_measured(
    url: str, mine: RemoteSearch, own: FrontierStore, tiny_file: Path
) -> None:
    """It is neither refused nor passed: it is named, and after an audit of the frontier it is answered."""
    select, frontier = (f"{url}{API}/searches/mine/{last}?max_mce=1.2" for last in ("select", "frontier"))
    assert httpx2.get(frontier).status_code == 422
    before = httpx2.get(select)
    assert before.status_code == 200, before.text
    found = before.json()
    assert found["feasible"] is False
    assert found["unmeasured"]["metrics"] == ["mce"]
    by_accuracy = sorted(own.candidates("mine"), key=lambda each: (-(each.accuracy or 0), each.id or 0))
    assert found["unmeasured"]["candidates"] == [each.id for each in by_accuracy]
    adapter = TypeAdapter(Infeasible)
    assert adapter.dump_python(adapter.validate_python(found), mode="json", exclude_unset=True) == found
    assert mine.selection(maximum={"mce": 1.2}).to_json() == found
    for number in range(2):
        answer = httpx2.post(f"{url}{API}/searches/mine/audits", json={"kinds": ["robustness"], **SMALL})
        assert answer.status_code == 202, answer.text
        # Asked twice it is queued once: a client may ask again whose answer was lost.
        assert own.jobs.counts()["audit", "queued"] == 1, number
    with working(own, registry(tiny_file)):
        records = mine.audit(kinds="robustness", timeout=240, **SMALL)
    members = own.frontier("mine")
    assert {each.candidate for each in records} == {None, *(each.id for each in members)}
    assert records[-1].candidate is None
    assert "redundancy" in records[-1].document["c_like"]
    message = own.jobs.job(answer.json()["id"]).message or ""
    assert all(f"candidate {each.id}" in message for each in members)
    after = httpx2.get(select)
    assert after.headers["etag"] != before.headers["etag"]
    found = after.json()
    values = {each.id: each.value("mce") for each in own.candidates("mine")}
    held = [each for each in members if (values[each.id] or 9) <= 1.2]
    assert held
    assert found["feasible"] is True
    assert found["candidate"]["accuracy"] == max(each.accuracy or 0 for each in held)
    assert all(values[each] is None for each in found.get("unmeasured", {"candidates": []})["candidates"])
    adapter = TypeAdapter(Feasible)  # type: ignore[assignment]
    assert adapter.dump_python(adapter.validate_python(found), mode="json", exclude_unset=True) == found
    shown = httpx2.get(frontier).json()["candidates"]
    assert {each["id"] for each in shown} == {each.id for each in held}


def test_a_worker_measures_what_a_budget_needs(
    url: str, mine: RemoteSearch, own: FrontierStore, tiny_file: Path
) -> None:
    path = f"{url}{API}/searches/mine/measure"
    wanted = {"maximum": {"flip_rate": 1.0, "memory": "1MB"}, "most": 1}
    answer = httpx2.post(path, json=wanted)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["candidate"]) == ("measure", None)
    assert answer.headers["location"] == f"{API}/jobs/{job['id']}"
    assert httpx2.post(path, json=wanted).json()["id"] == job["id"]
    with working(own, registry(tiny_file)):
        # Any share of flips is within this limit, so the most accurate candidate is the answer.
        chosen = mine.selection(max_memory="1MB", maximum={"flip_rate": 1.0}, measure=1, timeout=120)
        # None is within this one, and all of them are asked.
        none = mine.selection(maximum={"flip_rate": -1.0}, measure=50, timeout=120)
        twin = SearchResult(own, "mine").selection(maximum={"flip_rate": -1.0}, measure=0)
    best = max(own.candidates("mine"), key=lambda each: (each.accuracy or 0, -(each.memory_bytes or 0)))
    assert chosen.feasible
    assert chosen.candidate is not None
    assert chosen.candidate.accuracy == best.accuracy
    message = own.jobs.job(job["id"]).message or ""
    assert message.startswith(
        f"measured candidates {chosen.candidate.id}; candidate {chosen.candidate.id} is within the budget"
    )
    assert not none.feasible
    assert none.unmeasured == ()
    assert none.to_json() == twin.to_json()
    assert all(each.value("flip_rate") is not None for each in own.candidates("mine"))
    assert set(own.jobs.counts()) == {("search", "done"), ("measure", "done")}


def test_a_queued_search_measures_more(url: str, own: FrontierStore, tiny_file: Path) -> None:
    with Client(url) as client, working(own, registry(tiny_file)):
        wanted = client.search("pictured", name="more", trials=2, sampler="random", metrics=["flip_rate"])
        assert wanted.wait(timeout=120).state == "done"
    assert "flip_rate" in own.search("more").settings["metrics"]
    assert all(each.value("flip_rate") is not None for each in own.candidates("more"))
    assert all(each.value("mce") is None for each in own.candidates("more"))


AUDITS, MEASURES = ("/candidates/1/audits", "/searches/mine/audits"), "/searches/mine/measure"


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/candidates/99999/audits", {"kinds": ["classes"]}, 404, "no candidate 99999"),
        ("/searches/none/audits", {"kinds": ["classes"]}, 404, "mine"),
        *((path, {}, 422, "#/kinds") for path in AUDITS),
        *((path, {"kinds": []}, 422, "#/kinds") for path in AUDITS),
        *((path, {"kinds": ["beauty"]}, 422, "#/kinds: unknown: beauty; known: ") for path in AUDITS),
        *((path, {"kinds": ["classes", "classes"]}, 422, "more than once") for path in AUDITS),
        *((path, {"kinds": "classes"}, 422, "#/kinds") for path in AUDITS),
        *(
            (path, {"kinds": ["classes"], option: "/etc/passwd"}, 422, f"#/{option}")
            for path in AUDITS
            for option in PATHS
        ),
        *(
            (AUDITS[1], {"kinds": ["classes"], key: value}, 422, words)
            for key, value, words in (
                ("models", 0, "#/models"),
                ("models", 1001, "#/models"),
                ("models", 2.5, "#/models"),
                ("samples", 1_000_001, "#/samples"),
                ("gallery", 1001, "#/gallery"),
                ("seed", -1, "#/seed"),
                ("population", "beautiful", "unknown population 'beautiful'"),
                ("split", "train", "'train'"),
                ("levels", ["deep"], "#/levels"),
                ("corruptions", [], "#/corruptions"),
                ("corruptions", ["rain"], "#/corruptions"),
                ("severities", [6], "#/severities"),
                ("severities", [1, 1], "#/severities"),
                ("candidates", [0], "#/candidates/0"),
                ("candidates", [1, 1], "#/candidates"),
                ("candidates", [99999], "#/candidates/0"),
                ("candidates", list(range(1, 200)), "#/candidates"),
                ("workers", 8, "#/workers"),
                ("device", "cuda:0", "#/device"),
            )
        ),
        (MEASURES, {}, 422, "no limit is named"),
        (MEASURES, {"maximum": {"beauty": 1}}, 422, "beauty"),
        (MEASURES, {"maximum": {"mce": "much"}}, 422, "mce"),
        (MEASURES, {"maximum": {"mce": None}}, 422, "#/maximum/mce"),
        (MEASURES, {"maximum": {"mce": 1}, "minimum": {"mce": 2}}, 422, "mce cannot be at least 2"),
        (MEASURES, {"maximum": {"mce": 1}, "strategy": "magic"}, 422, "magic"),
        (MEASURES, {"maximum": {"mce": 1}, "stage": "later"}, 422, "#/stage"),
        (MEASURES, {"maximum": {"mce": 1}, "most": 0}, 422, "#/most"),
        (MEASURES, {"maximum": {"mce": 1}, "most": 101}, 422, "#/most"),
        ("/searches/none/measure", {"maximum": {"mce": 1}}, 404, "mine"),
        ("/searches", {"target": "pictured", "metrics": ["beauty"]}, 422, "#/metrics"),
        ("/searches", {"target": "pictured", "metrics": ["mce", "mce"]}, 422, "#/metrics"),
    ],
)
def test_refusals(
    file_client: httpx2.Client, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    answer = file_client.post(f"{API}{path}", json=body)
    assert answer.status_code == status, answer.text
    assert words in json.dumps(answer.json(), ensure_ascii=False)
    assert len(file_client.get(f"{API}/searches").json()) == 1


def test_addresses_of_no_audit(file_client: httpx2.Client) -> None:
    for path, words in (
        ("/candidates/99999/audits", "no candidate 99999"),
        ("/candidates/99999/audits/classes", "no candidate 99999"),
        ("/searches/none/audits", "mine"),
        ("/searches/none/audits/classes", "mine"),
        ("/searches/mine/audits/beauty", "there are: "),
        ("/searches/mine/audits/exemplars", "/api/v1/searches/mine/audits"),
        ("/candidates/2/audits/classes", "/api/v1/candidates/2/audits"),
    ):
        answer = file_client.get(API + path)
        assert answer.status_code == 404, path
        assert words in answer.json()["detail"]


def test_candidates_that_cannot_be_audited(client: httpx2.Client, store: FrontierStore, fill: Any) -> None:
    broken = dataclasses.replace(fill.point(900, 0.5, 2e5, 2e6), state="failed", reason="it broke")
    (failed,) = fill.trials(store, [broken])
    store.create_search(fill.record("empty"))
    store.create_search(fill.record("other"))
    (strange,) = fill.trials(store, [fill.point(0, 0.5, 2e5, 2e6)], "other")
    wanted = {"kinds": ["classes"]}
    for path, more, words in (
        (f"candidates/{failed.id}", {}, f"candidate {failed.id} is failed: only complete ones"),
        ("searches/mine", {"candidates": [1, failed.id]}, f"candidate {failed.id} is failed"),
        ("searches/mine", {"candidates": [strange.id]}, "of search 'other', not of 'mine'"),
        ("searches/empty", {}, "'empty' has no candidate yet"),
    ):
        answer = client.post(f"{API}/{path}/audits", json={**wanted, **more})
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["detail"]
    assert (
        client.post(f"{API}/searches/empty/audits", json={**wanted, "levels": ["pruning"]}).status_code == 202
    )
    assert [kind for kind, _ in store.jobs.counts() if kind == AUDIT] == [AUDIT]
    job = store.jobs.claim("someone", [AUDIT])
    assert job is not None
    assert AuditOptions.read(job[0].parameters["options"]).levels == ("pruning",)
    assert not set(PATHS) & set(job[0].parameters["options"])


def test_the_same_asked_for_by_many_at_once_is_one_job(client: httpx2.Client, store: FrontierStore) -> None:
    bodies = {
        "/searches/mine/audits": {"kinds": ["classes"], "levels": ["pruning"]},
        "/searches/mine/measure": {"maximum": {"mce": 1.2}},
        "/candidates/1/audits": {"kinds": ["classes"]},
    }
    with ThreadPoolExecutor(8) as threads:
        for path, body in bodies.items():
            answers = list(threads.map(partial(client.post, json=body), [API + path] * 16))
            assert {answer.status_code for answer in answers} == {202}
            assert len({answer.json()["id"] for answer in answers}) == 1
            assert len({answer.headers["location"] for answer in answers}) == 1
    assert store.jobs.counts()[AUDIT, "queued"] == 2
    assert store.jobs.counts()[MEASURE, "queued"] == 1


def test_what_a_worker_cannot_audit(url: str, own: FrontierStore, tiny_file: Path) -> None:
    with Client(url) as client, working(own, registry(tiny_file)):
        bare = client.open_search("bare")
        with pytest.raises(LeanfrontError, match=r"has failed: .*pixels"):
            bare.audit(kinds="robustness", timeout=120, **SMALL)
        chosen = bare.selection(maximum={"mce": 1.2}, measure=2, timeout=120)
        assert not chosen.feasible
        assert chosen.unmeasured_metrics == ("mce",)
        with pytest.raises(UsageError, match="beauty"):
            bare.audit(kinds="beauty")
        with pytest.raises(UsageError, match="shift"):
            client.audit("bare", shift="data=/etc")
        with pytest.raises(NotFoundError):
            client.audit(99999)
        assert bare.audits() == []
    states = {(job, state) for job, state in own.jobs.counts() if job in (AUDIT, MEASURE)}
    assert states == {(AUDIT, "failed"), (MEASURE, "done")}


def test_an_audit_that_is_not_waited_for(url: str, own: FrontierStore) -> None:
    with Client(url) as client:
        assert client.audit("mine", kinds=["classes"], wait=False, **SMALL) == []
        assert client.audit(1, kinds=["classes"], wait=False, **SMALL) == []
        with pytest.raises(TimeoutError, match=r"\(audit\) is still queued"):
            client.audit("mine", kinds=["classes"], timeout=0.2, **SMALL)
    assert own.jobs.counts()[AUDIT, "queued"] == 2


def test_where_files_lie_is_nobodys_business(client: httpx2.Client, store: FrontierStore) -> None:
    """Somebody on the worker's machine has audited with files of there."""
    options = AuditOptions(corrupted="/srv/ada/secret/CIFAR-10-C", shift="D:\\ada\\other.zip").to_json()
    bare = AuditOptions(corrupted="/").to_json()
    store.add_audits(
        [
            AuditRecord("mine", "robustness", {"dense": {}}, None, options, "1.0"),
            AuditRecord("mine", "robustness", {"dense": {}}, 1, bare, "1.0"),
        ]
    )
    for place, corrupted, shift in (
        ("searches/mine", "CIFAR-10-C", "other.zip"),
        ("candidates/1", True, None),
    ):
        answers = [client.get(f"{API}/{place}/audits{last}") for last in ("", "/robustness")]
        (row,) = (each for each in answers[0].json() if each["kind"] == "robustness")
        for found in (row, answers[1].json()):
            assert (found["parameters"]["corrupted"], found["parameters"]["shift"]) == (corrupted, shift)
        assert "ada" not in answers[0].text + answers[1].text
