"""Events of all searches: the newest as they are, then every change, from one poller."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from leanfront.core.storage import FrontierStore, Mark, Marks
from leanfront.http import Keys
from leanfront.http.streams import board
from tests.leanfront.http.test_events import events, gauge, until

API = "/api/v1"
EVENTS = f"{API}/events"


@contextmanager
def followed(client: httpx2.Client) -> Iterator[Iterator[tuple[str, Any]]]:
    """The events of all searches, without end."""
    with client.stream("GET", EVENTS) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield ((kind, data) for kind, data, _ in events(answer.iter_lines()))


def test_first_comes_how_they_are(client: httpx2.Client, store: FrontierStore, fill: Any) -> None:
    store.create_search(fill.record("path", target="/models/other.py:target", state="queued"))
    client.post(f"{API}/searches", json={"target": "other", "name": "by name"})
    with followed(client) as found:
        told = [next(found) for _ in range(3)]
    assert [kind for kind, _ in told] == ["search"] * 3
    # The same as the list; of an operator's target the name alone.
    assert [data for _, data in told] == client.get(f"{API}/searches").json()
    assert told[2][1]["target"] == "other"


def test_then_what_changes(client: httpx2.Client, store: FrontierStore, fill: Any) -> None:
    with followed(client) as found:
        assert next(found)[1]["name"] == "mine"
        store.create_search(fill.record("new", state="queued"))
        kind, data = next(found)
        assert (kind, data["name"], data["state"], data["trials"]) == ("search", "new", "queued", 0)
        store.set_state("new", "running")
        assert next(found)[1]["state"] == "running"
        fill.trials(store, fill.trade_off(5), "new")
        kind, data = next(found)
        assert (data["name"], data["trials"]) == ("new", 5)
        assert data["frontier_size"] == store.search("new").frontier_size
        store.set_hypervolume("new", 0.3, 1.5)
        assert next(found)[1]["hypervolume"] == 0.3
        store.set_state("new", "done", "5 trials")
        row = next(found)[1]
        assert (row["state"], row["message"]) == ("done", "5 trials")
        assert row == client.get(f"{API}/searches").json()[1]
        store.delete_search("new")
        assert next(found) == ("removed", {"name": "new"})
        # One of the same name is another one.
        store.create_search(fill.record("new", state="queued"))
        assert next(found)[1]["trials"] == 0


def test_a_name_that_is_used_again_at_once(file_store: FrontierStore, fill: Any) -> None:
    """Between two looks: the old one goes before the new one comes."""
    file_store.create_search(fill.record("one", state="done"))
    before = board.snapshot(file_store)
    file_store.delete_search("one")
    file_store.create_search(fill.record("one", state="queued"))
    after = board.snapshot(file_store, before)
    kinds = [line.split(b"\n")[0] for line in board._changes(before, after)]
    assert kinds == [b"event: removed", b"event: search"]
    assert list(board._changes(after, board.snapshot(file_store, after))) == []


def test_only_the_newest(
    file_store: FrontierStore,
    fill: Any,
    serving: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board, "NEWEST", 3)
    monkeypatch.setattr(board, "MOST_SEARCHES", 5)
    for number in range(6):
        file_store.create_search(fill.record(f"s{number}", state="queued"))
    with (
        serving(file_store) as url,
        httpx2.Client(base_url=url, timeout=10) as client,
        followed(client) as found,
    ):
        assert [next(found)[1]["name"] for _ in range(3)] == ["s3", "s4", "s5"]
        # The others are not followed, and of those that have left the newest nobody says that they are gone.
        file_store.set_state("s0", "cancelled")
        names = [f"t{number}" for number in range(8)]
        for name in names:
            file_store.create_search(fill.record(name, state="queued"))
            assert next(found)[1]["name"] == name
        file_store.delete_search("s4")
        file_store.delete_search(names[-1])
        assert next(found) == ("removed", {"name": names[-1]})


def test_one_poller_however_many_follow(
    file_store: FrontierStore, fill: Any, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file_store.create_search(fill.record())
    looks: list[float] = []
    real = Marks.since

    def counted(marks: Marks, first: int) -> list[Mark]:
        looks.append(time.monotonic())
        return real(marks, first)

    monkeypatch.setattr(Marks, "since", counted)
    with serving(file_store, poll_seconds=0.2) as url, httpx2.Client(base_url=url, timeout=30) as client:
        with followed(client) as one, followed(client) as two, followed(client) as three:
            for found in (one, two, three):
                assert next(found)[1]["state"] == "running"
            begin, before = time.monotonic(), len(looks)
            time.sleep(1.2)
            assert 2 <= len(looks) - before <= (time.monotonic() - begin) / 0.2 + 1
            file_store.set_state("mine", "done")
            for found in (one, two, three):
                assert next(found)[1]["state"] == "done"
        until(lambda: gauge(client, "leanfront_http_open_streams") == 0)
        time.sleep(0.3)
        rest = len(looks)
        time.sleep(0.5)
        # Nobody follows: nobody looks.
        assert len(looks) == rest


def test_streams_are_limited_and_live(file_store: FrontierStore, serving: Callable[..., Any]) -> None:
    with (
        serving(file_store, streams=1, heartbeat_seconds=0.1) as url,
        httpx2.Client(base_url=url, timeout=10) as client,
    ):
        with client.stream("GET", EVENTS) as answer:
            lines = answer.iter_lines()
            for _ in range(3):
                while not next(lines).startswith(":"):
                    pass
            refused = client.get(EVENTS)
            assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (503, True)
        until(lambda: gauge(client, "leanfront_http_open_streams") == 0)
        # How long somebody stayed is no time to answer.
        assert 'route="/api/v1/events",status="200"' not in client.get("/metrics").text
        head = client.head(EVENTS)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"].startswith("text/event-stream")
        assert client.get(f"{EVENTS}?after=3").status_code == 422


def test_a_key_is_needed_where_there_are_keys(file_store: FrontierStore, serving: Callable[..., Any]) -> None:
    with serving(file_store, keys=Keys.of(["a-key-that-is-long-enough"])) as url:
        for path in ("/events", "/searches/mine/candidates", "/searches/mine/progress"):
            assert httpx2.get(f"{url}{API}{path}").status_code == 401


def test_the_end_of_the_server_ends_streams(file_store: FrontierStore, serving: Callable[..., Any]) -> None:
    with httpx2.Client(timeout=10) as client:
        with serving(file_store) as url:
            opened = client.stream("GET", f"{url}{EVENTS}")
            answer = opened.__enter__()
            lines = answer.iter_lines()
            assert next(lines) == "retry: 2000"
            begin = time.monotonic()
        assert time.monotonic() - begin < 5
        assert not any(line.startswith("event") for line in lines)
        opened.__exit__(None, None, None)


def test_a_database_that_fails_for_a_while(
    file_store: FrontierStore,
    fill: Any,
    serving: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file_store.create_search(fill.record())
    monkeypatch.setattr("leanfront.http.streams.hub.PATIENCE", 0.05)

    def rename(before: str, after: str) -> None:
        with file_store.database.connection(write=True) as connection:
            connection.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

    with (
        serving(file_store) as url,
        httpx2.Client(base_url=url, timeout=10) as client,
        followed(client) as found,
    ):
        assert next(found)[1]["state"] == "running"
        rename("leanfront_searches", "away")
        until(lambda: "following all searches" in caplog.text)
        rename("away", "leanfront_searches")
        file_store.set_state("mine", "done")
        assert next(found)[1]["state"] == "done"
