"""Recoveries over a real socket, done by a real worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import TypeAdapter

from leanfront.core import search as searching
from leanfront.core.search import SearchOptions
from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from leanfront.errors import NotFoundError, UsageError
from leanfront.http.schemas.candidates import Candidate
from leanfront.remote.client import Client
from leanfront.remote.search import RemoteSearch
from leanfront.worker.runner import Runner
from leanfront.worker.settings import WorkerSettings
from tests.leanfront.runners import working

API = "/api/v1"


def registry(tiny_file: Path) -> Registry:
    return Registry.of([f"small={tiny_file}:recoverable", f"tiny={tiny_file}:target"])


@pytest.fixture(scope="module")
def searched(tiny_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database and files: `mine` on a target with training data, `bare` on one without."""
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch, FrontierStore(f"sqlite:///{folder}/own.db") as store:
        patch.setenv("LEANFRONT_ARTIFACTS", str(folder / "artifacts"))
        options = SearchOptions(trials=6, sampler="random")
        for name, target, function in (("mine", "small", "recoverable"), ("bare", "tiny", "target")):
            reference = f"{tiny_file}:{function}"
            store.create_search(searching.queued(name, reference, options, registered=target))
        Runner(store, WorkerSettings(registry(tiny_file))).run(once=True)
        assert [each.state for each in store.searches()] == ["done", "done"]
    return folder


@pytest.fixture
def url(own: FrontierStore, serving: Callable[..., Any], tiny_file: Path) -> Iterator[str]:
    with serving(own, registry(tiny_file)) as address:
        yield address


def test_recovering_over_the_network(
    url: str, mine: RemoteSearch, own: FrontierStore, tiny_file: Path, tmp_path: Path
) -> None:
    worst = min(mine.frontier(), key=lambda candidate: candidate.accuracy or 0)
    path = f"{url}{API}/candidates/{worst.id}"
    assert httpx2.get(f"{path}/recoveries").json() == []
    answer = httpx2.post(f"{path}/recover", json={"epochs": 2})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["candidate"], job["state"]) == ("recover", worst.id, "queued")
    assert answer.headers["location"] == f"{API}/jobs/{job['id']}"
    # The same again is the same job; other settings are another.
    assert httpx2.post(f"{path}/recover", json={"epochs": 2}).json()["id"] == job["id"]
    other = httpx2.post(f"{path}/recover")
    assert other.status_code == 202
    assert other.json()["id"] != job["id"]
    own.jobs.cancel(other.json()["id"])
    tag = httpx2.get(f"{url}{API}/searches/mine/frontier").headers["etag"]
    with working(own, registry(tiny_file)):
        made = worst.recover(2, timeout=120)
        again = worst.recover(2, timeout=120)
        hopeless = mine._client.candidate(made.id or 0).recover(1, minutes=1e-6, timeout=120)
        exported = made.export(tmp_path / "made.safetensors", timeout=120)
        assert made.verify(timeout=120).ok
    assert made.parent == worst.id
    assert (made.accuracy or 0) > (worst.accuracy or 1)
    assert made.configuration.recovery[0]["epochs"] == 2
    assert again.id == made.id
    assert hopeless.id == made.id
    assert exported.stat().st_size == made.file_bytes
    found = httpx2.get(f"{path}/recoveries").json()
    assert [each["id"] for each in found] == [made.id]
    assert found[0]["parent"] == worst.id
    adapter = TypeAdapter(list[Candidate])
    written = adapter.dump_python(adapter.validate_python(found), mode="json", exclude_unset=True)
    assert written == found
    assert found[0]["configuration"]["recovery"] == [dict(made.configuration.recovery[0])]
    assert httpx2.get(f"{url}{API}/searches/mine/frontier").headers["etag"] != tag
    assert made.id in {each.id for each in mine.frontier()}
    assert worst.id not in {each.id for each in mine.frontier()}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/candidates/99999/recover", {}, 404, "no candidate 99999"),
        ("/candidates/0/recover", {}, 422, "id"),
        ("/candidates/1/recover", {"epochs": 0}, 422, "#/epochs"),
        ("/candidates/1/recover", {"epochs": 1.5}, 422, "#/epochs"),
        ("/candidates/1/recover", {"epochs": 10**9}, 422, "#/epochs"),
        ("/candidates/1/recover", {"minutes": 0}, 422, "#/minutes"),
        ("/candidates/1/recover", {"seed": -1}, 422, "#/seed"),
        ("/candidates/1/recover", {"optimiser": "lion"}, 422, "known: adamw, sgd"),
        ("/candidates/1/recover", {"batch_size": 1}, 422, "#/batch_size"),
        ("/candidates/1/recover", {"colour": "red"}, 422, "#/colour"),
        ("/candidates/1/recover?epochs=2", {}, 422, "does not take it"),
        ("/searches", {"target": "small", "recover": 0}, 422, "#/recover"),
        ("/searches", {"target": "small", "recover_minutes": 3.0}, 422, "say how many"),
    ],
)
def test_refusals(url: str, path: str, body: dict[str, Any], status: int, words: str) -> None:
    answer = httpx2.post(f"{url}{API}{path}", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert httpx2.get(f"{url}{API}/candidates/99999/recoveries").status_code == 404


def test_what_cannot_be_recovered(url: str, mine: RemoteSearch, own: FrontierStore) -> None:
    with Client(url) as client:
        bare = client.open_search("bare").frontier()[0]
        with pytest.raises(UsageError, match="search 'bare' has no train split"):
            bare.recover(1, timeout=5)
        with pytest.raises(UsageError, match="optimizer"):
            bare.recover(1, timeout=5, optimizer="sgd")
        with pytest.raises(NotFoundError, match="no candidate 99999"):
            client.candidate(99999)
        with pytest.raises(TimeoutError, match=r"recover.* is still queued"):
            mine.frontier()[0].recover(1, timeout=0.2)
    assert set(own.jobs.counts()) == {("search", "done"), ("recover", "queued")}


def test_a_queued_search_recovers(url: str, own: FrontierStore, tiny_file: Path) -> None:
    with Client(url) as client, working(own, registry(tiny_file)):
        wanted = client.search("small", name="both", trials=4, sampler="random", recover=1, recover_minutes=1)
        record = wanted.wait(timeout=120)
    assert record.state == "done"
    assert record.trials == 4
    assert "candidates recovered" in (record.message or "")
    made = own.recovered("both")
    assert made
    assert own.search("both").options.recover == 1
