"""The frontier before and after recovery, over HTTP, in Python and on the command line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import click.testing
import httpx2
import pytest

from leanfront import Client
from leanfront.cli import main
from leanfront.core.search import Candidate
from leanfront.core.storage import FrontierStore
from leanfront.errors import UsageError
from leanfront.local.search_result import SearchResult

API = "/api/v1"
MINE = f"{API}/searches/mine"


def recover(store: FrontierStore, fill: Any, number: int = 500) -> Candidate:
    """Store what came of training the frontier's third cheapest member: as small, more accurate than all."""
    parent = store.frontier("mine", stage="before")[2]
    values = {each.name: each.value for each in parent.measurements}
    point = fill.point(number, 0.99, values["memory_bytes"], values["macs"], file_bytes=values["file_bytes"])
    (made,) = fill.trials(store, [dataclasses.replace(point, parent=parent.id)])
    found: Candidate = made
    return found


def ids(answer: httpx2.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["candidates"]]


def chosen(answer: httpx2.Response) -> int:
    found: int = answer.json()["candidate"]["id"]
    return found


def test_both_stages_are_answered(client: httpx2.Client, store: FrontierStore, fill: Any) -> None:
    first = ids(client.get(f"{MINE}/frontier"))
    paths = ("frontier", "select", "knee", "select?max_file_bytes=100KB", "select?max_memory=100KB")

    def ask(path: str, stage: str | None) -> httpx2.Response:
        sign = "&" if "?" in path else "?"
        return client.get(f"{MINE}/{path}" + ("" if stage is None else f"{sign}stage={stage}"))

    assert ids(ask("frontier", "before")) == ids(ask("frontier", "after")) == first
    old = {path: ask(path, "before") for path in paths}
    made = recover(store, fill)
    assert ids(ask("frontier", None)) == ids(ask("frontier", "after")) != first
    assert made.id in ids(ask("frontier", None))
    found = ask("frontier", "before").json()
    assert ([each["id"] for each in found["candidates"]], found["stage"]) == (first, "before")
    # It says of each whether it is still the best there is.
    assert {each["on_frontier"] for each in found["candidates"]} == {True, False}
    for path in paths[1:]:
        # Twice: the second answer is a remembered one.
        for _ in range(2):
            assert chosen(ask(path, "before")) == chosen(old[path])
            assert chosen(ask(path, "after")) == chosen(ask(path, None)) == made.id
        before, after = (ask(path, stage).headers["etag"] for stage in ("before", "after"))
        assert before != after
        again = client.get(f"{MINE}/{path}", headers={"If-None-Match": before})
        assert again.status_code == 200
    near = {
        stage: client.get(f"{API}/candidates/{first[1]}/neighbours?stage={stage}").json()
        for stage in ("before", "after")
    }
    assert near["before"]["better"]["macs"]["candidate"]["id"] in first
    assert near["after"]["better"]["macs"]["candidate"]["id"] == made.id


def test_pages_of_a_stage(client: httpx2.Client, store: FrontierStore, fill: Any) -> None:
    recover(store, fill)
    for stage in ("before", "after"):
        whole = ids(client.get(f"{MINE}/frontier?stage={stage}"))
        answer = client.get(f"{MINE}/frontier?stage={stage}&limit=1")
        found, cursor = ids(answer), answer.json().get("next")
        while "next" in answer.links:
            answer = client.get(answer.links["next"]["url"])
            found += ids(answer)
        assert found == whole
        assert (cursor is None) == (len(whole) == 1)
    cursor = client.get(f"{MINE}/frontier?stage=before&limit=1").json()["next"]
    assert client.get(f"{MINE}/frontier?stage=after&limit=1&cursor={cursor}").status_code == 422


def test_another_stage_is_refused(file_client: httpx2.Client) -> None:
    document = file_client.get("/openapi.json").json()["paths"]
    for path in ("frontier", "select", "knee"):
        answer = file_client.get(f"{MINE}/{path}?stage=later")
        assert answer.status_code == 422
        assert "'before' or 'after'" in answer.json()["detail"]
        (said,) = (
            each
            for each in document[f"{API}/searches/{{name}}/{path}"]["get"]["parameters"]
            if each["name"] == "stage"
        )
        assert said["schema"]["enum"] == ["before", "after"]


@pytest.fixture
def faces(file_store: FrontierStore, fill: Any, serving: Callable[..., Any]) -> Iterator[list[Any]]:
    """A search with a recovered candidate, over the network and beside its database."""
    fill.search(file_store)
    recover(file_store, fill)
    with serving(file_store) as url, Client(url) as client:
        yield [client.open_search("mine"), SearchResult(file_store, "mine")]


def test_python_asks_at_a_stage(faces: list[Any], file_store: FrontierStore) -> None:
    for stage in ("before", "after"):
        expected = [each.id for each in file_store.frontier("mine", stage=stage)]
        remote, local = ([each.id for each in face.frontier(stage=stage)] for face in faces)
        assert remote == local == expected
        answer = file_store.select("mine", stage=stage)
        for face in faces:
            assert face.select(stage=stage).id == answer.candidate.id
            assert (face.selection(stage=stage).candidate.parent is None) == (stage == "before")
    for face in faces:
        assert [each.id for each in face.frontier()] == [each.id for each in face.frontier(stage="after")]
        for ask in (face.frontier, face.select):
            with pytest.raises(UsageError, match=r"before.*after"):
                ask(stage="later")


def test_commands_ask_at_a_stage(faces: list[Any], file_store: FrontierStore) -> None:
    def run(*arguments: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(main, [*arguments, "--database", file_store.url])

    for stage in ("before", "after"):
        expected = [each.id for each in file_store.frontier("mine", stage=stage)]
        found = json.loads(run("frontier", "mine", "--stage", stage, "--json").stdout)
        assert ([each["id"] for each in found["candidates"]], found["stage"]) == (expected, stage)
        answer = json.loads(run("select", "mine", "--stage", stage, "--no-verify", "--json").stdout)
        assert (answer["candidate"]["parent"] is None) == (stage == "before")
        text = run("frontier", "mine", "--stage", stage).stdout
        assert ("before recovery" in text) == (stage == "before")
    assert json.loads(run("frontier", "mine", "--json").stdout)["stage"] == "after"
    for command in ("frontier", "select"):
        wrong = run(command, "mine", "--stage", "later")
        assert wrong.exit_code == 2
        assert "choose from before, after" in wrong.stderr
