"""Candidates in columns and a search's progress, over the network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import leanfront
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import resolve
from leanfront.errors import UsageError
from leanfront.http.routes import columns, progress
from leanfront.remote import search as remote_search
from leanfront.remote.client import Client

API = "/api/v1"
CANDIDATES = f"{API}/searches/mine/candidates"
PROGRESS = f"{API}/searches/mine/progress"


def pages(client: httpx2.Client, path: str) -> Iterator[Any]:
    """The bodies of all pages, by the Link header."""
    following: str | None = path
    while following is not None:
        answer = client.get(following)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        following = answer.links.get("next", {}).get("url")


def test_all_candidates_in_columns(client: httpx2.Client, store: FrontierStore) -> None:
    answer = client.get(CANDIDATES, params={"columns": "accuracy, memory_bytes,file_bytes"})
    assert answer.status_code == 200
    found = answer.json()
    everything = list(store.candidates("mine"))
    assert found["ids"] == [each.id for each in everything]
    assert found["on_frontier"] == [each.on_frontier for each in everything]
    assert found["columns"]["accuracy"] == {
        "name": "accuracy",
        "split": "validation",
        "unit": "1",
        "value": [each.accuracy for each in everything],
        "low": [each.measurements[0].low for each in everything],
        "high": [each.measurements[0].high for each in everything],
    }
    assert found["columns"]["file_bytes"]["unit"] == "byte"
    assert found["columns"]["file_bytes"]["split"] is None
    assert found["columns"]["memory_bytes"]["low"] == [None] * 40
    assert "next" not in found
    assert "link" not in answer.headers
    assert list(client.get(CANDIDATES).json()["columns"]) == ["accuracy", "memory_bytes", "macs"]


@pytest.mark.parametrize("query", ["", "columns=cross_entropy,macs"])
def test_pages_are_the_whole(client: httpx2.Client, query: str) -> None:
    whole = client.get(f"{CANDIDATES}?{query}").json()
    for limit in (1, 7, 40):
        found = list(pages(client, f"{CANDIDATES}?{query}&limit={limit}"))
        assert [each for page in found for each in page["ids"]] == whole["ids"]
        for name, column in whole["columns"].items():
            assert [x for page in found for x in page["columns"][name]["value"]] == column["value"]
        assert ["next" in page for page in found] == [True] * (len(found) - 1) + [False]


def test_a_cursor_outlives_the_frontier_and_fits_its_columns_alone(
    client: httpx2.Client, store: FrontierStore, fill: Any
) -> None:
    first = client.get(f"{CANDIDATES}?limit=30").json()
    fill.trials(store, fill.trade_off(5, start=100))
    rest = list(pages(client, f"{CANDIDATES}?limit=30&cursor={first['next']}"))
    assert [each for page in [first, *rest] for each in page["ids"]] == [
        each.id for each in store.candidates("mine")
    ]
    for wrong in (f"columns=macs&cursor={first['next']}", "cursor=x", f"cursor={first['next'][:-2]}"):
        assert client.get(f"{CANDIDATES}?{wrong}").status_code == 422


def test_answers_are_kept_until_something_is_stored(
    client: httpx2.Client, store: FrontierStore, fill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    for name in ("columns", "growth"):
        real = getattr(FrontierStore, name)

        def counted(*given: Any, real: Any = real, name: str = name, **named: Any) -> Any:
            reads.append(name)
            return real(*given, **named)

        monkeypatch.setattr(FrontierStore, name, counted)

    def ask() -> tuple[str, str]:
        answers = [client.get(path) for path in (CANDIDATES, PROGRESS)]
        again = client.get(CANDIDATES, headers={"If-None-Match": answers[0].headers["etag"]})
        assert again.status_code == 304
        return answers[0].headers["etag"], answers[1].headers["etag"]

    first = ask()
    assert ask() == first
    assert reads == ["columns", "growth"]
    # One that everything dominates leaves the frontier as it is, and one that was recovered adds no trial.
    version, trials = store.search("mine").frontier_version, store.search("mine").trials
    poor = fill.point(500, 0.1, 9e6, 9e7)
    fill.trials(store, [poor])
    second = ask()
    assert second[0] != first[0]
    store.add_recovered(dataclasses.replace(fill.point(501, 0.1, 9e6, 9e7), parent=1))
    third = ask()
    assert third[0] != second[0]
    assert len(reads) == 6
    assert (store.search("mine").frontier_version, store.search("mine").trials) == (version, trials + 1)


def test_what_cannot_be_asked(file_client: httpx2.Client) -> None:
    for query, words in (
        ("columns=beauty", "no column beauty"),
        ("columns=accuracy,beauty:test", "measured are accuracy, memory_bytes, macs"),
        ("columns=", "has no name"),
        ("columns=accuracy,,macs", "has no name"),
        (f"columns={','.join(map(str, range(columns.MOST_COLUMNS + 1)))}", "more than"),
        ("limit=0", "limit"),
        (f"limit={columns.LONGEST_PAGE + 1}", "limit"),
        ("column=accuracy", "does not take it"),
    ):
        answer = file_client.get(f"{CANDIDATES}?{query}")
        assert answer.status_code == 422, query
        assert words in answer.json()["detail"]
    for points in (1, progress.MOST_POINTS + 1):
        assert file_client.get(f"{PROGRESS}?points={points}").status_code == 422
    for last in ("candidates", "progress"):
        assert file_client.get(f"{API}/searches/none/{last}").status_code == 404


def test_a_search_that_waits_has_neither(client: httpx2.Client) -> None:
    client.post(f"{API}/searches", json={"target": "digits", "name": "waits"})
    found = client.get(f"{API}/searches/waits/candidates").json()
    assert found["ids"] == found["columns"]["accuracy"]["value"] == []
    assert client.get(f"{API}/searches/waits/progress").json()["trials"] == []


def test_the_client_has_both(
    filled: FrontierStore, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_search, "PAGE", 1)
    with serving(filled) as url, Client(url) as client:
        mine = client.open_search("mine")
        found = mine.columns("accuracy", "file_bytes")
        assert found == json.loads(json.dumps(filled.columns("mine", "accuracy", "file_bytes").to_json()))
        assert list(mine.columns()["columns"]) == ["accuracy", "memory_bytes", "macs"]
        assert mine.progress(5) == json.loads(json.dumps(filled.growth("mine", 5).to_json()))
        with pytest.raises(UsageError, match="no column beauty"):
            mine.columns("beauty")


@pytest.mark.parametrize("recover", [None, 1])
def test_the_last_hypervolume_is_the_stored_one(
    tiny_file: Path, serving: Callable[..., Any], tmp_path: Path, recover: int | None
) -> None:
    target = resolve(f"{tiny_file}:recoverable")
    url = f"sqlite:///{tmp_path}/real.db"
    leanfront.search(target, name="real", trials=8, sampler="random", recover=recover, database=url)
    with FrontierStore(url) as store, serving(store) as address, Client(address) as client:
        found, record = client.open_search("real").progress(), store.search("real")
        assert bool(store.recovered("real")) == bool(recover)
    assert found["trials"] == list(range(1, 9))
    assert found["hypervolume"][-1] == pytest.approx(record.hypervolume, rel=1e-9)
    assert found["hypervolume_log2"][-1] == pytest.approx(record.hypervolume_log2, rel=1e-9)
    assert found["frontier_size"][-1] == record.frontier_size
    assert found["hypervolume"] == sorted(found["hypervolume"])
    assert record.hypervolume > 0
