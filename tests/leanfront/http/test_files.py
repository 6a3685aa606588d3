"""Candidates' files over a real socket: exactly what the worker made, by whichever server."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from sqlalchemy import text

import leanfront
from leanfront.actions.search_files import keeper
from leanfront.core import search as searching
from leanfront.core.search import Run, SearchOptions
from leanfront.core.storage import FrontierStore, Shelf, check
from leanfront.core.targets import Target
from leanfront.core.targets.registry import Registry
from leanfront.errors import ArtifactError, LeanfrontError, NotFoundError, TargetError, UsageError
from leanfront.locations import open_shelf
from leanfront.remote.client import Client
from leanfront.remote.search import RemoteSearch
from leanfront.worker.runner import Runner
from leanfront.worker.settings import WorkerSettings

API = "/api/v1"


@pytest.fixture(scope="module")
def searched(tiny_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database and the artifacts of the search `mine` on a registered target, driven by a runner."""
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch, FrontierStore(f"sqlite:///{folder}/own.db") as store:
        patch.setenv("LEANFRONT_ARTIFACTS", str(folder / "artifacts"))
        options = SearchOptions(trials=12)
        store.create_search(searching.queued("mine", f"{tiny_file}:target", options, registered="tiny"))
        Runner(store, WorkerSettings(Registry.of([f"tiny={tiny_file}:target"]))).run(once=True)
        assert store.search("mine").state == "done"
    return folder


@pytest.fixture
def shelf(own: FrontierStore) -> Shelf:
    return open_shelf(own)


@pytest.fixture
def url(own: FrontierStore, serving: Callable[..., Any]) -> Iterator[str]:
    with serving(own) as address:
        yield address


@contextmanager
def working(store: FrontierStore, tiny_file: Path) -> Iterator[Runner]:
    """A runner that takes jobs meanwhile."""
    runner = Runner(store, WorkerSettings(Registry.of([f"tiny={tiny_file}:target"]), device="cpu"))
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        yield runner
    finally:
        runner.stop()
        thread.join(60)
        assert not thread.is_alive()


def address(candidate: Any) -> str:
    return f"{API}/candidates/{candidate.id}/artifact"


def test_the_files_of_the_frontier_are_there_when_a_search_ends(
    url: str, mine: RemoteSearch, own: FrontierStore, shelf: Shelf
) -> None:
    frontier = mine.frontier()
    assert len(frontier) > 2
    for candidate in frontier:
        answer = httpx2.get(url + address(candidate))
        assert answer.status_code == 200
        digest = hashlib.sha256(answer.content)
        kept = shelf.find(candidate.id, "safetensors")
        assert kept is not None
        assert (digest.hexdigest(), len(answer.content)) == (kept.digest, candidate.file_bytes)
        headers = answer.headers
        assert headers["content-length"] == str(len(answer.content))
        assert headers["etag"] == f'"{digest.hexdigest()}"'
        assert headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        assert headers["content-disposition"] == f'attachment; filename="mine-{candidate.id}.safetensors"'
        assert headers["content-type"] == "application/octet-stream"
        assert headers["x-content-type-options"] == "nosniff"
        assert answer.content == candidate.artifact()
    assert check(own.database.engine.url.render_as_string(), shelf.folder).ok


def test_what_a_client_has_is_not_sent_again(url: str, mine: RemoteSearch) -> None:
    candidate = mine.frontier()[0]
    with httpx2.Client(base_url=url) as client:
        whole = client.get(address(candidate))
        again = client.get(address(candidate), headers={"If-None-Match": f'"x", {whole.headers["etag"]}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", whole.headers["etag"])
        head = client.head(address(candidate))
        assert (head.status_code, head.content) == (200, b"")
        for name in ("etag", "content-length", "content-disposition", "repr-digest"):
            assert head.headers[name] == whole.headers[name]
        listed = client.get(f"{address(candidate)}s").json()
        assert listed[0] == {
            "format": "safetensors",
            "bytes": len(whole.content),
            "sha256": hashlib.sha256(whole.content).hexdigest(),
        }
        assert listed[1:] == [{"format": each, "bytes": None, "sha256": None} for each in ("onnx", "pt2")]


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=5-99999999", slice(5, None)),
    ],
)
def test_parts(url: str, mine: RemoteSearch, asked: str, part: slice) -> None:
    candidate = mine.frontier()[0]
    content = candidate.artifact()
    answer = httpx2.get(url + address(candidate), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, content[part])
    start = part.indices(len(content))[0]
    last = start + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {start}-{last}/{len(content)}"
    other = httpx2.get(url + address(candidate), headers={"Range": asked, "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, content)


def test_parts_that_are_not_there(url: str, mine: RemoteSearch) -> None:
    candidate = mine.frontier()[0]
    size = len(candidate.artifact())
    for asked in (f"bytes={size}-", "bytes=-0", "bytes=999999-9999999"):
        answer = httpx2.get(url + address(candidate), headers={"Range": asked})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
        assert answer.headers["content-type"] == "application/problem+json"
    # What cannot be read is passed over.
    for asked in ("bytes=9-5", "lines=1-2", "bytes=x", "bytes=", "bytes=1-2,5-6", "bytes=" + "9" * 400 + "-"):
        answer = httpx2.get(url + address(candidate), headers={"Range": asked})
        assert (answer.status_code, len(answer.content)) == (200, size), asked


def test_refusals(url: str, own: FrontierStore) -> None:
    dominated = next(each for each in own.candidates("mine") if not each.on_frontier)
    with httpx2.Client(base_url=url) as client:
        for path, status, says in (
            ("/candidates/99999/artifact", 404, "no candidate 99999"),
            ("/candidates/1/artifact?format=exe", 422, "choose from safetensors"),
            ("/candidates/1/artifact?format=../../etc/passwd", 422, "choose from"),
            ("/candidates/1/artifact?format=pt2", 404, "POST to this address"),
            (f"/candidates/{dominated.id}/verification", 404, "has not been verified"),
            ("/candidates/99999/verification", 404, "no candidate 99999"),
        ):
            answer = client.get(API + path)
            assert answer.status_code == status, answer.text
            assert says in answer.json()["detail"]
        for path, status in (
            ("/candidates/99999/artifact", 404),
            ("/candidates/1/artifact?format=exe", 422),
            ("/candidates/99999/verify", 404),
        ):
            assert client.post(API + path).status_code == status
        with own.database.writing() as session:
            session.execute(
                text("UPDATE leanfront_candidates SET state = 'failed', reason = 'no memory' WHERE id = 1")
            )
        for path in ("artifact", "verify"):
            answer = client.post(f"{API}/candidates/1/{path}")
            assert (answer.status_code, "no memory" in answer.json()["detail"]) == (422, True)


def test_a_worker_makes_what_is_asked_for(
    url: str, mine: RemoteSearch, own: FrontierStore, tiny: Target, tiny_file: Path, tmp_path: Path
) -> None:
    candidate = mine.frontier()[-1]
    assert candidate.verified is None
    queued = httpx2.post(f"{url}{address(candidate)}?format=pt2")
    assert (queued.status_code, queued.json()["kind"]) == (202, "export")
    assert queued.headers["location"] == f"{API}/jobs/{queued.json()['id']}"
    # Asked for twice it is made once.
    assert httpx2.post(f"{url}{address(candidate)}?format=pt2").json()["id"] == queued.json()["id"]
    with pytest.raises(TimeoutError, match="leanfront worker"):
        candidate.export(tmp_path / "late.pt2", timeout=0.1)
    with working(own, tiny_file):
        path = candidate.export(tmp_path / "model.pt2", timeout=120)
        packed = candidate.export(tmp_path / "model.safetensors")
    job = httpx2.get(url + queued.headers["location"]).json()
    assert (job["state"], job["candidate"]) == ("done", candidate.id)
    assert f"{path.stat().st_size:,} bytes" in job["message"]
    # Made of the packed file's own weights, and verified on the way.
    program, module = (
        torch.export.load(path).module(),
        leanfront.load(packed, tiny.model, example_input=tiny.example_input),
    )
    inputs, _ = tiny.validation.tensors()
    assert torch.allclose(program(inputs), module(inputs), atol=1e-4)
    assert mine._client.candidate(candidate.id or 0).verified is True
    assert candidate.verification().ok
    assert sorted(each.name for each in tmp_path.glob("model*")) == ["model.pt2", "model.safetensors"]
    with pytest.raises(UsageError, match="name a file"):
        candidate.export(tmp_path / "model.exe")
    with pytest.raises(TargetError, match=r"leanfront\.load"):
        candidate.module()


def test_verifying_over_the_network(
    url: str, mine: RemoteSearch, own: FrontierStore, tiny_file: Path
) -> None:
    candidate = mine.frontier()[0]
    with pytest.raises(NotFoundError, match="has not been verified"):
        candidate.verification()
    tag = httpx2.get(f"{url}{API}/searches/mine/frontier").headers["etag"]
    with working(own, tiny_file):
        found = candidate.verify(timeout=120)
        assert found.ok
        assert found.to_json() == httpx2.get(f"{url}{API}/candidates/{candidate.id}/verification").json()
        assert mine.frontier()[0].verified is True
        assert httpx2.get(f"{url}{API}/searches/mine/frontier").headers["etag"] != tag
        with own.database.writing() as session:
            session.execute(
                text(
                    "UPDATE leanfront_measurements SET value = value + 8 "
                    f"WHERE name = 'memory_bytes' AND candidate_id = {candidate.id}"
                )
            )
        second = candidate.verify(timeout=120)
    assert [claim.name for claim in second.broken] == ["memory_bytes"]
    assert mine._client.candidate(candidate.id or 0).verified is False
    counts = own.jobs.counts()
    assert counts["verify", "done"] == 2


def test_a_job_that_fails_says_why(mine: RemoteSearch, own: FrontierStore, tiny_file: Path) -> None:
    runner = Runner(own, WorkerSettings(Registry.of([f"tiny={tiny_file}:breaks"])))
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        with pytest.raises(LeanfrontError, match="not the one search 'mine' was made on"):
            mine.frontier()[0].verify(timeout=120)
    finally:
        runner.stop()
        thread.join(60)


def test_a_damaged_file_is_refused_and_made_again(
    url: str, mine: RemoteSearch, own: FrontierStore, shelf: Shelf, tiny_file: Path
) -> None:
    candidate = mine.frontier()[0]
    content = candidate.artifact()
    kept = shelf.find(candidate.id or 0, "safetensors")
    assert kept is not None
    place = shelf.folder.path(kept.digest)
    for spoiled in (content[:-1], content[:-1] + b"\xff", b""):
        place.write_bytes(spoiled)
        answer = httpx2.get(url + address(candidate))
        assert (answer.status_code, answer.json()["type"]) == (500, "urn:leanfront:problem:artifact")
        assert "is damaged" in answer.json()["detail"]
        assert str(place.parent) not in answer.text
        with pytest.raises(ArtifactError, match="is damaged"):
            mine._client.file(f"/candidates/{candidate.id}/artifact", {})
    with working(own, tiny_file):
        assert len(candidate.artifact(timeout=120)) == candidate.file_bytes
    again = shelf.find(candidate.id or 0, "safetensors")
    assert again is not None
    shelf.folder.path(again.digest).unlink()
    assert httpx2.get(url + address(candidate)).status_code == 404


def test_two_servers_answer_the_same(
    own: FrontierStore, serving: Callable[..., Any], tiny_file: Path
) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(FrontierStore(own.database.engine.url.render_as_string()))
        first, second = (stack.enter_context(serving(store)) for store in (own, other))
        candidate = own.frontier("mine")[0]
        with working(own, tiny_file), Client(first) as client:
            made = client.candidate(candidate.id or 0).artifact("pt2", timeout=120)
        answers = [httpx2.get(f"{url}{address(candidate)}?format=pt2") for url in (first, second)]
        assert [each.content for each in answers] == [made, made]
        assert len({(each.headers["etag"], each.headers["content-disposition"]) for each in answers}) == 1


def test_deleting_a_search_deletes_its_files(
    url: str, mine: RemoteSearch, own: FrontierStore, shelf: Shelf
) -> None:
    candidate = mine.frontier()[0]
    # Another search's candidate has the same file.
    own.create_search(searching.queued("other", "digits", SearchOptions(trials=1)))
    taken = own.candidate(candidate.id or 0)
    made = own.record("other", searching.TrialRecord(0, {}), replace(taken, id=None, search="other"))
    assert made.id is not None
    content = candidate.artifact()
    shelf.keep(made.id, "safetensors", content)
    assert len(list(shelf.folder)) > 3
    mine.delete()
    assert [shelf.folder.get(digest) for digest in shelf.folder] == [content]
    assert httpx2.get(url + address(candidate)).status_code == 404
    assert httpx2.get(url + address(made)).content == content
    assert check(own.database.engine.url.render_as_string(), shelf.folder).strays == 0
    RemoteSearch(mine._client, "other").cancel()
    RemoteSearch(mine._client, "other").delete()
    assert list(shelf.folder) == []


def test_a_search_goes_on_where_files_cannot_be_kept(
    tiny: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FrontierStore(f"sqlite:///{tmp_path}/full.db") as store:
        shelf = open_shelf(store)
        assert shelf.folder.folder == tmp_path / "full-artifacts"
        shelf.folder.folder.write_text("a file where a folder should be")
        keep = keeper(shelf)
        searching.start(tiny, store, "a", SearchOptions(trials=3), Run(keep=keep))
        assert store.search("a").state == "done"
    assert caplog.text.count("files of candidates are not kept: cannot write to the artifacts") == 1


def test_names_of_files_are_safe(own: FrontierStore, shelf: Shelf, serving: Callable[..., Any]) -> None:
    name = '../ü"; rm -rf \\ x'.replace("/", "")
    own.create_search(searching.queued(name, "digits", SearchOptions(trials=1)))
    taken = own.frontier("mine")[0]
    made = own.record(name, searching.TrialRecord(0, {}), replace(taken, id=None, search=name))
    shelf.keep(made.id or 0, "safetensors", b"x")
    with serving(own) as url:
        told = httpx2.get(url + address(made)).headers["content-disposition"]
    assert told == f'attachment; filename="rm_-rf_x-{made.id}.safetensors"'
