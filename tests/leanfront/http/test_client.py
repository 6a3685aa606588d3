"""The client: the verbs and objects of the Python face, over a real socket."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from leanfront.core.storage import FrontierStore
from leanfront.errors import (
    BusyError,
    InfeasibleError,
    LeanfrontError,
    NameTakenError,
    NotFoundError,
    StorageError,
    TargetError,
    UsageError,
)
from leanfront.http import Keys
from leanfront.local.search_result import SearchResult
from leanfront.remote import retries
from leanfront.remote.client import Client
from leanfront.remote.search import RemoteSearch

KEY = "correct-horse-battery-staple"

Both = tuple[RemoteSearch, SearchResult]
"""The search `mine` over the network, and in the database."""


@pytest.fixture(scope="module")
def mine(filled: FrontierStore, serving: Callable[..., Any]) -> Iterator[Both]:
    """For tests that change nothing."""
    with serving(filled, keys=Keys.of([KEY])) as url, Client(url, KEY) as client:
        yield client.open_search("mine"), SearchResult(filled, "mine")


@pytest.fixture
def own(store: FrontierStore, fill: Any, serving: Callable[..., Any]) -> Iterator[RemoteSearch]:
    """The search `mine` over the network, for a test that changes it."""
    fill.search(store)
    with serving(store, keys=Keys.of([KEY])) as url, Client(url, KEY) as client:
        yield client.open_search("mine")


def same(one: Any, other: Any) -> None:
    """Candidates that tell the same; JSON says nothing of the indices that were kept."""
    assert [each.to_json() for each in one] == [each.to_json() for each in other]
    assert [each.measurements for each in one] == [each.measurements for each in other]
    assert [each.configuration for each in one] == [each.configuration for each in other]


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_memory": "100KB"},
        {"max_memory": 123456.5, "min_accuracy": 0.7},
        {"max_macs": "2M", "weak": True},
        {"maximum": {"file_bytes": "64KiB", "cross_entropy": 0.25}},
        {"minimum": {"memory": 1e5}},
    ],
)
def test_frontiers_are_the_same(mine: Both, limits: dict[str, Any]) -> None:
    remote, local = mine
    assert len(local.frontier(**limits)) > 0
    same(remote.frontier(**limits), local.frontier(**limits))
    assert remote.frontier(**limits).to_records() == local.frontier(**limits).to_records()


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"max_memory": "50KB"},
        {"max_memory": 1},
        {"maximum": {"file_bytes": 1}},
        {"strategy": "knee"},
        {"strategy": "lexicographic", "order": ("memory", "accuracy"), "tolerance": 5000.0},
        {"strategy": "lexicographic", "tolerance": {"memory": 1e4, "accuracy": 0.1}},
        {"strategy": "chebyshev", "weights": {"accuracy": 2, "memory": 0}},
    ],
)
def test_selections_are_the_same(mine: Both, query: dict[str, Any]) -> None:
    remote, local = (each.selection(**query) for each in mine)
    assert remote.to_json() == local.to_json()
    assert (remote.violations, remote.strategy) == (local.violations, local.strategy)


def test_a_budget_that_none_holds(mine: Both) -> None:
    told = []
    for each in mine:
        with pytest.raises(InfeasibleError) as caught:
            each.select(max_memory=1)
        told.append(str(caught.value))
        assert caught.value.selection.binding == "memory_bytes"  # type: ignore[attr-defined]
    assert told[0] == told[1]
    chosen = mine[0].select(max_memory="100KB")
    assert chosen.memory_bytes is not None
    assert chosen.memory_bytes <= 100_000
    with pytest.raises(TargetError):
        chosen.module()


def test_records(mine: Both) -> None:
    remote, local = mine[0].record, mine[1].record
    for name in (
        "name",
        "target",
        "objectives",
        "dense",
        "reference",
        "trials",
        "state",
        "message",
        "seed",
        "goal",
    ):
        assert getattr(remote, name) == getattr(local, name), name
    assert remote.to_json() == local.to_json()
    assert mine[0].coverage() == local.coverage


def test_a_search_from_queue_to_deletion(own: RemoteSearch, store: FrontierStore) -> None:
    client = own._client
    assert [each["name"] for each in client.targets()] == ["digits", "other"]
    made = client.search("digits", name="über 100%", trials=7, objectives="accuracy,memory", bits=[4])
    assert made.record.goal == 7
    assert made.state()["objectives"] == ["accuracy", "memory"]
    with pytest.raises(NameTakenError):
        client.search("digits", name="über 100%")
    with pytest.raises(TimeoutError):
        made.wait(0.2)
    lease = store.jobs.drive(made.name, "someone:1:x")
    with pytest.raises(BusyError):
        made.delete()
    made.cancel()
    assert store.jobs.beat(lease)
    store.jobs.finish(lease, "cancelled")
    assert made.wait(5).state == "cancelled"
    made.delete()
    with pytest.raises(NotFoundError, match="mine"):
        made.state()
    assert [row["name"] for row in client.searches()] == ["mine"]
    assert client.search("digits").name == "digits"


def test_a_search_that_failed(own: RemoteSearch, store: FrontierStore) -> None:
    store.set_state("mine", "failed", "it broke")
    with pytest.raises(LeanfrontError, match="it broke"):
        own.wait()


def test_candidates(mine: Both, filled: FrontierStore) -> None:
    client = mine[0]._client
    same([client.candidate(3)], [filled.candidate(3)])
    assert client.compare(1, 2)["ids"] == [1, 2]
    with pytest.raises(NotFoundError):
        client.candidate(12345)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda search: search.frontier(max_memory="lots"), "lots"),
        (lambda search: search.frontier(max_beauty=3), "max_beauty"),
        (lambda search: search.frontier(maximum={"beauty": 3}), "beauty"),
        (lambda search: search.frontier(order_by="beauty"), "beauty"),
        (lambda search: search.selection(strategy="magic"), "magic"),
        (lambda search: search._client.search("nope"), "nope"),
        (lambda search: search._client.search("digits", trials=0), "trials"),
        (lambda search: search._client.search("digits", typo=1), "typo"),
    ],
)
def test_wrong_use_is_the_same_error(mine: Both, call: Any, says: str) -> None:
    with pytest.raises((UsageError, TypeError), match=says):
        call(mine[0])


def test_events_end_with_the_search(mine: Both) -> None:
    found = list(mine[0].events())
    assert [each.data["sequence"] for each in found if each.kind == "trial"] == list(range(1, 41))
    assert (found[-1].kind, found[-1].data["state"], found[-1].id) == ("state", "done", "40-done")
    assert [each.kind for each in mine[0].events("38")] == ["trial", "trial", "frontier", "state"]
    assert list(mine[0].events("40-done")) == []
    with pytest.raises(NotFoundError):
        list(RemoteSearch(mine[0]._client, "none").events())


def test_a_wrong_key(file_store: FrontierStore, serving: Callable[..., Any]) -> None:
    with serving(file_store, keys=Keys.of([KEY])) as url:
        for key in (None, "wrong-key"):
            with Client(url, key) as client, pytest.raises(LeanfrontError, match="key") as caught:
                client.searches()
            assert KEY not in str(caught.value)


@pytest.mark.parametrize("url", ["", "host:8000", "ftp://host", "http://", "http://[", "http://host:99999"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="http://host:8000"):
        Client(url)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with Client("http://127.0.0.1:1") as client, pytest.raises(StorageError, match="leanfront serve"):
        client.health()


Replies = list[tuple[int, dict[str, str], Any] | None]


@contextmanager
def scripted(replies: Replies) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these replies one after the other, bytes as they are; None hangs up without a word."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            place = self.headers.get("Last-Event-ID")
            asked.append(f"{self.command} {self.path}" + (f" behind {place}" if place else ""))
            reply = replies.pop(0)
            if reply is None:
                self.connection.close()
                self.close_connection = True
                return
            status, headers, body = reply
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *arguments: object) -> None:
            pass

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


BUSY = (
    503,
    {"Retry-After": "3"},
    {"type": "urn:leanfront:problem:overloaded", "title": "t", "detail": "full"},
)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds the client has waited, without waiting."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def test_what_can_be_repeated_is(slept: list[float]) -> None:
    with scripted([None, BUSY, (200, {}, [])]) as (url, asked), Client(url) as client:
        assert client.targets() == []
        assert asked == ["GET /api/v1/targets"] * 3
    assert 2 < slept[1] < 4


def test_what_cannot_be_repeated_is_not(slept: list[float]) -> None:
    for reply in (None, BUSY):
        with scripted([reply]) as (url, asked), Client(url) as client, pytest.raises(StorageError):
            client.search("digits")
        assert len(asked) == 1
    assert slept == []


def test_patience_ends(slept: list[float]) -> None:
    with scripted([BUSY] * 9) as (url, asked), Client(url) as client:
        with pytest.raises(StorageError, match="full"):
            client.targets()
        assert len(asked) == retries.ATTEMPTS


def test_a_stream_that_breaks_off_is_taken_up_again(slept: list[float]) -> None:
    kind = {"Content-Type": "text/event-stream; charset=utf-8"}
    first = (
        b'retry: 2000\n\nevent: trial\ndata: {"sequence": 1}\nid: 1\n\n: ping\n\nevent: trial\ndata: {"seq'
    )
    frontier, end = (
        b'event: frontier\ndata: {"size": 1}\n\n',
        b'event: state\ndata: {"state": "done"}\nid: 1-done\n\n',
    )
    replies: Replies = [(200, kind, first), None, BUSY, (200, kind, b"retry: 2000\n\n" + frontier + end)]
    with scripted(replies) as (url, asked), Client(url) as client:
        found = list(RemoteSearch(client, "mine").events())
    assert [(each.kind, each.id) for each in found] == [
        ("trial", "1"),
        ("frontier", None),
        ("state", "1-done"),
    ]
    events = "GET /api/v1/searches/mine/events"
    assert asked == [events, *[f"{events} behind 1"] * 3]
    assert len(slept) == 3


def test_what_is_no_stream_is_not_read_as_one(slept: list[float]) -> None:
    with (
        scripted([(200, {"Content-Type": "text/html"}, b"data: 1\n\n")] * 9) as (url, asked),
        Client(url) as client,
        pytest.raises(StorageError, match="text/html"),
    ):
        list(RemoteSearch(client, "mine").events())
    assert len(asked) == retries.ATTEMPTS


def test_a_deletion_whose_answer_was_lost(slept: list[float]) -> None:
    gone: tuple[int, dict[str, str], Any] = (
        404,
        {},
        {"type": "urn:leanfront:problem:not-found", "title": "t", "detail": "no search"},
    )
    with scripted([None, gone]) as (url, _), Client(url) as client:
        RemoteSearch(client, "mine").delete()


def test_something_else_answers() -> None:
    with (
        scripted([(418, {}, "teapot")]) as (url, _),
        Client(url) as client,
        pytest.raises(LeanfrontError, match="418"),
    ):
        client.targets()
