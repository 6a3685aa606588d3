"""Pages with cursors, and answers that have not changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from leanfront.core.storage import FrontierStore

API = "/api/v1"
FRONTIER = f"{API}/searches/mine/frontier"


def pages(client: httpx2.Client, path: str) -> list[Any]:
    """The bodies of all pages, by the Link header."""
    found = []
    following: str | None = path
    while following is not None:
        answer = client.get(following)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        link = answer.links.get("next")
        following = link["url"] if link else None
    return found


@pytest.mark.parametrize("query", ["", "weak=true", "order_by=accuracy", "order_by=macs&min_accuracy=0.8"])
def test_pages_of_a_frontier_are_the_whole(client: httpx2.Client, query: str) -> None:
    whole = client.get(f"{FRONTIER}?{query}").json()
    assert "next" not in whole
    for limit in (1, 3, 1000):
        found = pages(client, f"{FRONTIER}?{query}&limit={limit}")
        assert [each for page in found for each in page["candidates"]] == whole["candidates"]
        assert all(0 < len(page["candidates"]) <= limit for page in found)
        assert ["next" in page for page in found] == [True] * (len(found) - 1) + [False]


def test_pages_of_searches(client: httpx2.Client, store: FrontierStore, fill: Any) -> None:
    for number in range(6):
        store.create_search(fill.record(f"more {number}", state="queued"))
    found = pages(client, f"{API}/searches?limit=3")
    assert [len(page) for page in found] == [3, 3, 1]
    assert [row["name"] for page in found for row in page] == [record.name for record in store.searches()]


def test_what_comes_between_pages_is_neither_lost_nor_doubled(
    client: httpx2.Client, store: FrontierStore, fill: Any
) -> None:
    before = {each["id"] for each in client.get(FRONTIER).json()["candidates"]}
    first = client.get(f"{FRONTIER}?limit=5").json()
    fill.trials(store, fill.trade_off(30, start=100))
    rest = pages(client, f"{FRONTIER}?limit=5&cursor={first['next']}")
    ids = [each["id"] for page in [first, *rest] for each in page["candidates"]]
    assert len(ids) == len(set(ids))
    still = {each.id for each in store.frontier("mine")}
    assert set(ids) >= before & still


def test_a_cursor_fits_its_list_alone(file_client: httpx2.Client) -> None:
    cursor = file_client.get(f"{FRONTIER}?limit=2&max_macs=5M").json()["next"]
    assert file_client.get(f"{FRONTIER}?limit=7&max_macs=5M&cursor={cursor}").status_code == 200
    changed = [
        cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :] for place in range(40)
    ]
    for wrong in (*changed, cursor[:-4], cursor + "AAAA", "A", "=", "%00", "é", "A" * 500, cursor[:11]):
        assert file_client.get(f"{FRONTIER}?limit=2&max_macs=5M&cursor={wrong}").status_code == 422, wrong
    for other in ("max_macs=6M", "max_macs=5M&weak=true", "max_macs=5M&order_by=accuracy", ""):
        assert file_client.get(f"{FRONTIER}?{other}&cursor={cursor}").status_code == 422
    assert file_client.get(f"{API}/searches?cursor={cursor}").status_code == 422


PATHS = [
    "frontier",
    "frontier?limit=3&weak=true",
    "select?max_memory=100KB",
    "select?max_file_bytes=100KB",
    "knee",
]


@pytest.mark.parametrize("path", PATHS)
def test_unchanged_answers(client: httpx2.Client, store: FrontierStore, fill: Any, path: str) -> None:
    address = f"{API}/searches/mine/{path}"
    first = client.get(address)
    tag = first.headers["etag"]
    for header in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = client.get(address, headers={"If-None-Match": header})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = client.get(address, headers={"If-None-Match": '"x"'})
    assert (other.status_code, other.content) == (200, first.content)
    # A candidate that is better than all others changes every answer.
    best = fill.point(900, 0.99, 9_000.0, 90_000.0, file_bytes=9_300.0, cross_entropy=0.01)
    fill.trials(store, [best])
    now = client.get(address, headers={"If-None-Match": tag})
    assert now.status_code == 200
    assert now.headers["etag"] != tag


def test_every_change_of_the_frontier_shows(client: httpx2.Client, store: FrontierStore, fill: Any) -> None:
    tags = [client.get(FRONTIER).headers["etag"]]
    changes: list[Callable[[], object]] = [
        lambda: store.set_hypervolume("mine", 0.6, 2.6),
        lambda: store.add_measurements(
            store.frontier("mine")[0].id or 0,
            [dataclasses.replace(store.frontier("mine")[0].measurements[0], split="test")],
        ),
        lambda: fill.trials(store, [fill.point(901, 0.999, 8_000.0, 80_000.0)]),
    ]
    for change in changes:
        change()
        tags.append(client.get(FRONTIER).headers["etag"])
        assert client.get(FRONTIER).json()["candidates"] == [
            each.to_json() for each in store.frontier("mine")
        ]
    assert len(set(tags)) == 4


def test_a_dominated_candidate_can_answer_a_limit_on_what_is_no_objective(
    client: httpx2.Client, store: FrontierStore, fill: Any
) -> None:
    address = f"{API}/searches/mine/select?max_file_bytes=1"
    before = client.get(address)
    assert before.json()["feasible"] is False
    fill.trials(store, [fill.point(902, 0.4, 2_000_000.0, 2e7, file_bytes=1.0)])
    after = client.get(address, headers={"If-None-Match": before.headers["etag"]})
    assert after.json()["candidate"]["file_bytes"] == 1


def test_a_search_made_anew_is_another(client: httpx2.Client, store: FrontierStore, fill: Any) -> None:
    before = client.get(FRONTIER).json()
    store.delete_search("mine")
    fill.search(store, 3)
    after = client.get(FRONTIER).json()
    assert {each["id"] for each in after["candidates"]}.isdisjoint(
        each["id"] for each in before["candidates"]
    )


def test_two_servers_on_one_database_agree(
    store: FrontierStore, any_url: str, fill: Any, serving: Callable[..., Any]
) -> None:
    fill.search(store)
    with (
        FrontierStore(any_url) as other,
        serving(store) as one_url,
        serving(other) as two_url,
        httpx2.Client(base_url=one_url) as one,
        httpx2.Client(base_url=two_url) as two,
    ):
        for round_ in range(3):
            first, second = one.get(f"{FRONTIER}?limit=4"), two.get(f"{FRONTIER}?limit=4")
            assert first.content == second.content
            assert first.headers["etag"] == second.headers["etag"]
            # A cursor of one leads on at the other.
            cursor = first.json()["next"]
            assert (
                two.get(f"{FRONTIER}?limit=4&cursor={cursor}").json()
                == one.get(f"{FRONTIER}?limit=4&cursor={cursor}").json()
            )
            assert (
                one.post(f"{API}/searches", json={"target": "digits", "name": f"n{round_}"}).status_code
                == 201
            )
            assert (
                two.post(f"{API}/searches", json={"target": "digits", "name": f"n{round_}"}).status_code
                == 409
            )
            fill.trials(store, fill.trade_off(5, start=200 + 10 * round_))
