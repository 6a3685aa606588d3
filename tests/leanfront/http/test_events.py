"""Server-sent events: all of them once, in order, whatever breaks off."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from leanfront.core.search import TrialRecord
from leanfront.core.storage import FrontierStore, Mark, Marks

API = "/api/v1"
EVENTS = f"{API}/searches/mine/events"


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any, str | None]]:
    """(kind, data, id) of every event of a stream."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            yield fields["event"], json.loads(fields["data"]), fields.get("id")
        fields = {}


def follow(client: httpx2.Client, place: str | None = None) -> list[tuple[str, Any, str | None]]:
    """All events up to the end of the stream."""
    headers = {} if place is None else {"Last-Event-ID": place}
    with client.stream("GET", EVENTS, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(events(answer.iter_lines()))


def gauge(client: httpx2.Client, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds
        time.sleep(0.02)


def test_a_search_that_has_ended(client: httpx2.Client, store: FrontierStore) -> None:
    found = follow(client)
    trials = [data for kind, data, _ in found if kind == "trial"]
    assert [place for kind, _, place in found if kind == "trial"] == [str(n) for n in range(1, 41)]
    assert [each["sequence"] for each in trials] == list(range(1, 41))
    one = store.candidate(trials[4]["candidate"])
    assert trials[4]["values"] == {"accuracy": one.accuracy, "memory": one.memory_bytes, "macs": one.macs}
    assert sum(each["entered"] for each in trials) >= store.search("mine").frontier_size
    record = store.search("mine")
    assert found[-2:] == [
        (
            "frontier",
            {
                "version": record.frontier_version,
                "size": record.frontier_size,
                "hypervolume": 0.5,
                "hypervolume_log2": 2.5,
            },
            None,
        ),
        ("state", {"state": "done", "message": "40 trials", "trials": 40}, "40-done"),
    ]


def test_a_stream_is_taken_up_where_it_was(client: httpx2.Client) -> None:
    assert [place for kind, _, place in follow(client, "37") if kind == "trial"] == ["38", "39", "40"]
    assert client.get(EVENTS, params={"after": "40"}).text.count("event: trial") == 0
    # Who knows the end is told not to come back.
    assert client.get(EVENTS, headers={"Last-Event-ID": "40-done"}).status_code == 204
    # An id of a search of the same name that was deleted since.
    assert [kind for kind, _, _ in follow(client, "4000")].count("trial") == 40
    assert [kind for kind, _, _ in follow(client, "40-failed")].count("state") == 1
    for wrong in ("x", "-1", "1;DROP", "1e3", "9" * 20, "9223372036854775808", "1-", "٣"):
        answer = client.get(EVENTS, headers=[(b"Last-Event-ID", wrong.encode())])
        assert answer.status_code == 422, wrong


def test_a_search_is_followed_as_it_goes(
    store: FrontierStore, fill: Any, serving: Callable[..., Any]
) -> None:
    store.create_search(fill.record(state="queued"))
    candidates = fill.trade_off(30)
    seen: list[tuple[str, Any, str | None]] = []
    with serving(store) as url, httpx2.Client(base_url=url, timeout=30) as client:

        def watch() -> None:
            seen.extend(follow(client))

        watchers = [threading.Thread(target=watch) for _ in range(3)]
        for watcher in watchers:
            watcher.start()
        until(lambda: gauge(client, "leanfront_http_open_streams") == 3)
        store.set_state("mine", "running")
        for start in range(0, 30, 5):
            fill.trials(store, candidates[start : start + 5])
            store.set_hypervolume("mine", start / 100, start / 10)
            time.sleep(0.1)
        store.set_state("mine", "done", "30 trials")
        for watcher in watchers:
            watcher.join(15)
        until(lambda: gauge(client, "leanfront_http_open_streams") == 0)
    sequences = [data["sequence"] for kind, data, _ in seen if kind == "trial"]
    assert sorted(sequences) == sorted(list(range(1, 31)) * 3)
    states = [data["state"] for kind, data, _ in seen if kind == "state"]
    assert states.count("queued") == states.count("done") == 3
    assert len([1 for kind, _, _ in seen if kind == "frontier"]) > 6


def test_a_stream_that_breaks_off_again_and_again_loses_nothing(
    store: FrontierStore, fill: Any, serving: Callable[..., Any]
) -> None:
    store.create_search(fill.record())
    candidates = fill.trade_off(60)

    def drive() -> None:
        for candidate in candidates:
            fill.trials(store, [candidate])
            time.sleep(0.01)
        store.set_state("mine", "done")

    driver = threading.Thread(target=drive)
    got: list[int] = []
    state, place = None, None
    with serving(store) as url, httpx2.Client(base_url=url, timeout=30) as client:
        driver.start()
        while state != "done":
            headers: dict[str, str] = {} if place is None else {"Last-Event-ID": place}
            with client.stream("GET", EVENTS, headers=headers) as answer:
                for number, (kind, data, identifier) in enumerate(events(answer.iter_lines())):
                    place = identifier or place
                    if kind == "trial":
                        got.append(data["sequence"])
                    state = data["state"] if kind == "state" else state
                    if number == 9:
                        break
        driver.join()
    assert got == list(range(1, 61))


def test_one_poller_however_many_follow(
    file_store: FrontierStore, fill: Any, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file_store.create_search(fill.record())
    looks: list[float] = []
    real = Marks.of

    def counted(marks: Marks, name: str) -> Mark:
        looks.append(time.monotonic())
        return real(marks, name)

    monkeypatch.setattr(Marks, "of", counted)
    with serving(file_store, poll_seconds=0.2) as url, httpx2.Client(base_url=url, timeout=30) as client:
        streams = [threading.Thread(target=follow, args=(client,)) for _ in range(8)]
        for stream in streams:
            stream.start()
        until(lambda: gauge(client, "leanfront_http_open_streams") == 8)
        begin, before = time.monotonic(), len(looks)
        time.sleep(1.5)
        assert len(looks) - before <= (time.monotonic() - begin) / 0.2 + 1
        file_store.set_state("mine", "done")
        for stream in streams:
            stream.join(15)
        until(lambda: gauge(client, "leanfront_http_open_streams") == 0)
        time.sleep(0.3)
        rest = len(looks)
        time.sleep(0.6)
        # Nobody follows: nobody looks.
        assert len(looks) == rest


def test_a_silent_stream_shows_that_it_lives(
    file_store: FrontierStore, fill: Any, serving: Callable[..., Any]
) -> None:
    file_store.create_search(fill.record(state="queued"))
    with (
        serving(file_store, heartbeat_seconds=0.1) as url,
        httpx2.Client(base_url=url, timeout=10) as client,
        client.stream("GET", EVENTS) as answer,
    ):
        comments = 0
        for line in answer.iter_lines():
            comments += line.startswith(":")
            if comments == 3:
                break


def test_only_so_many_streams(file_store: FrontierStore, fill: Any, serving: Callable[..., Any]) -> None:
    file_store.create_search(fill.record(state="queued"))
    with serving(file_store, streams=2) as url, httpx2.Client(base_url=url, timeout=10) as client:
        with client.stream("GET", EVENTS) as one, client.stream("GET", EVENTS) as two:
            assert one.status_code == two.status_code == 200
            refused = client.get(EVENTS)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert refused.json()["type"] == "urn:leanfront:problem:overloaded"
        # A client that leaves makes room.
        until(lambda: gauge(client, "leanfront_http_open_streams") == 0)
        with client.stream("GET", EVENTS) as again:
            assert again.status_code == 200


def test_a_client_that_reads_nothing_is_dropped(
    file_store: FrontierStore, fill: Any, serving: Callable[..., Any]
) -> None:
    record = fill.record()
    file_store.create_search(record)
    (one,) = fill.trade_off(1)
    # More than the buffers between server and client hold.
    file_store.record_many("mine", [(TrialRecord(number, {}), one, None) for number in range(40_000)])
    with serving(file_store, send_seconds=0.5) as url, httpx2.Client(base_url=url, timeout=30) as client:
        address = httpx2.URL(url)
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect((address.host, address.port))
            lazy.sendall(f"GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            until(lambda: gauge(client, "leanfront_http_open_streams") == 1)
            until(lambda: gauge(client, "leanfront_http_open_streams") == 0)
        # The others are none the worse for it.
        assert client.get(f"{API}/searches/mine").status_code == 200


def test_a_search_deleted_meanwhile(client: httpx2.Client, store: FrontierStore, fill: Any) -> None:
    store.create_search(fill.record("other", state="queued"))
    with client.stream("GET", f"{API}/searches/other/events") as answer:
        found = events(answer.iter_lines())
        assert next(found)[0] == "frontier"
        assert next(found)[1]["state"] == "queued"
        store.delete_search("other")
        assert next(found)[1]["state"] == "deleted"
        assert list(found) == []
