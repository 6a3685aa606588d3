"""Refusals: each a problem of the right kind that says what is wrong and where, and no secret."""

from __future__ import annotations

import json
import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from leanfront import errors
from leanfront.core.storage import FrontierStore
from leanfront.http.problems import ERRORS, KINDS, TYPE

API = "/api/v1"
SEARCHES = f"{API}/searches"
JSON = {"Content-Type": "application/json"}


def problem(answer: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    """The body of a refusal, which must be one of that kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["type"]) == (status, TYPE + slug)
    assert found["title"] == KINDS[slug].title
    assert found["detail"]
    assert found["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return found


@pytest.mark.parametrize(
    ("method", "path", "status", "slug", "says"),
    [
        ("GET", "/nothing", 404, "not-found", "/docs"),
        ("GET", "/api/v1/searches/none", 404, "not-found", "there are: mine"),
        ("GET", "/api/v1/searches/none/frontier", 404, "not-found", "mine"),
        ("GET", "/api/v1/searches/none/events", 404, "not-found", "mine"),
        ("GET", "/api/v1/searches/a%2Fb", 404, "not-found", ""),
        ("GET", "/api/v1/searches/a%00b", 404, "not-found", ""),
        ("GET", "/api/v1/searches/mine/", 404, "not-found", ""),
        ("DELETE", "/api/v1/searches/none", 404, "not-found", "mine"),
        ("POST", "/api/v1/searches/none/cancel", 404, "not-found", "none"),
        ("GET", "/api/v1/candidates/999", 404, "not-found", "no candidate 999"),
        ("GET", "/api/v1/candidates/999/neighbours", 404, "not-found", "999"),
        ("GET", "/api/v1/jobs/999", 404, "not-found", "no job 999"),
        ("PUT", "/api/v1/searches", 405, "method-not-allowed", "GET, HEAD, POST"),
        ("POST", "/api/v1/candidates/1", 405, "method-not-allowed", "GET"),
        ("PATCH", "/api/v1/searches/mine", 405, "method-not-allowed", "DELETE, GET, HEAD"),
        ("OPTIONS", "/api/v1/health", 405, "method-not-allowed", "GET"),
        ("GET", "/api/v1/searches/mine/cancel", 405, "method-not-allowed", "POST"),
        ("GET", "/api/v1/candidates/x", 422, "invalid", "id"),
        ("GET", "/api/v1/candidates/0", 422, "invalid", "id"),
        ("GET", "/api/v1/candidates/9223372036854775808", 422, "invalid", "id"),
        ("GET", "/api/v1/jobs/" + "9" * 5000, 422, "invalid", "id"),
        ("GET", "/api/v1/searches/" + "n" * 101, 422, "invalid", "name"),
    ],
)
def test_addresses(
    file_client: httpx2.Client, method: str, path: str, status: int, slug: str, says: str
) -> None:
    answer = file_client.request(method, path)
    found = problem(answer, status, slug)
    assert says in found["detail"]
    if status == 405:
        assert answer.headers["allow"] == says if "," in says else says in answer.headers["allow"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("max_memry=5", "max_memry"),
        ("max_memory=lots", "max_memory"),
        ("max_memory=-1", "max_memory"),
        ("max_macs=nan", "max_macs"),
        ("max_macs=1e999", "max_macs"),
        ("max_memory_bytes=" + "9" * 5000, "max_memory_bytes"),
        ("min_accuracy=90", "min_accuracy"),
        ("min_cross_entropy=Infinity", "min_cross_entropy"),
        ("max_=3", "max_"),
        ("maximum=3", "maximum"),
        ("max_memory=1&max_memory=2", "max_memory"),
        ("stategy=knee", "stategy"),
        ("strategy=magic", None),
        ("strategy=knee&order=memory", None),
        ("strategy=chebyshev&weight_accuracy=-1", "weight_accuracy"),
        ("strategy=chebyshev&weight_beauty=1", None),
        ("strategy=lexicographic&tolerance=nan", "tolerance"),
        ("strategy=lexicographic&tolerance_memory=x", "tolerance_memory"),
        ("strategy=lexicographic&order=,", None),
        ("min_memory=2&max_memory=1", None),
        ("max_memory=1&max_memory_bytes=2", None),
        ("&".join(f"max_m{number}=1" for number in range(17)), None),
        ("cursor=x", "cursor"),
    ],
)
def test_parameters(file_client: httpx2.Client, query: str, parameter: str | None) -> None:
    found = problem(file_client.get(f"{SEARCHES}/mine/select?{query}"), 422, "invalid")
    if parameter is not None and parameter != "max_memry":
        assert parameter in [error.get("parameter") for error in found["errors"]]
    if parameter == "max_memry":
        assert "cannot limit max_memry" in found["detail"] or "memry" in found["detail"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "weak=maybe", "order_by=", "cursor=", "weight_accuracy=1"]
)
def test_parameters_of_lists(file_client: httpx2.Client, query: str) -> None:
    problem(file_client.get(f"{SEARCHES}/mine/frontier?{query}"), 422, "invalid")


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"target": "nope"}, ["#/target"]),
        ({"target": "models/other.py:target"}, ["#/target"]),
        ({"target": 5, "trials": "many", "typo": 1}, ["#/target", "#/trials", "#/typo"]),
        ({"trials": 0}, ["#/trials"]),
        ({"trials": 10**30}, ["#/trials"]),
        ({"trials": True}, ["#/trials"]),
        ({"seed": -1}, ["#/seed"]),
        ({"seed": 2**64}, ["#/seed"]),
        ({"minutes": 0}, ["#/minutes"]),
        ({"name": ""}, ["#/name"]),
        ({"name": "a/b"}, ["#/name"]),
        ({"name": "a\u0000b"}, ["#/name"]),
        ({"name": ".."}, ["#/name"]),
        ({"name": "\ud800"}, None),
        ({"name": "n" * 101}, ["#/name"]),
        ({"bits": []}, ["#/bits"]),
        ({"bits": [4] * 100}, ["#/bits"]),
        ({"bits": [1]}, ["#/bits"]),
        ({"objectives": ["accuracy"]}, ["#/objectives"]),
        ({"objectives": ["accuracy", "accuracy"]}, ["#/objectives"]),
        ({"objectives": ["accuracy", "beauty"]}, ["#/objectives"]),
        ({"sampler": "magic"}, ["#/sampler"]),
        ({"criterion": ["l1"]}, ["#/criterion"]),
        ({"false_elimination": 1}, ["#/false_elimination"]),
        ({"device": "cuda:7"}, ["#/device"]),
    ],
)
def test_bodies(file_client: httpx2.Client, change: dict[str, Any], pointers: list[str] | None) -> None:
    body = json.dumps({"target": "digits", **change})
    found = problem(file_client.post(SEARCHES, content=body, headers=JSON), 422, "invalid")
    if pointers is not None:
        assert [error["pointer"] for error in found.get("errors", [])] == pointers
    assert len(file_client.get(SEARCHES).json()) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 60_000, b'{"target": "digits", "seed": ' + b"9" * 5000 + b"}", b"\xff\xfe", b"nul"],
)
def test_broken_json(file_client: httpx2.Client, body: bytes) -> None:
    answer = file_client.post(SEARCHES, content=body, headers=JSON)
    problem(answer, *((422, "invalid") if not body else (400, "malformed")))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(file_client: httpx2.Client, number: str) -> None:
    body = f'{{"target": "digits", "minutes": {number}}}'
    answer = file_client.post(SEARCHES, content=body, headers=JSON)
    assert "#/minutes" in problem(answer, 422, "invalid")["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_other_types(file_client: httpx2.Client, kind: str) -> None:
    answer = file_client.post(SEARCHES, content=b'{"target": "digits"}', headers={"Content-Type": kind})
    problem(answer, 415, "unsupported-media-type")


def test_everything_wrong_is_told_at_once(file_client: httpx2.Client) -> None:
    found = problem(file_client.post(SEARCHES, json={"trials": 0, "seed": "x"}), 422, "invalid")
    assert {error["pointer"] for error in found["errors"]} == {"#/target", "#/trials", "#/seed"}


def test_a_search_that_is_driven_cannot_be_deleted(client: httpx2.Client, store: FrontierStore) -> None:
    store.jobs.drive("mine", "elsewhere:1:x")
    problem(client.delete(f"{SEARCHES}/mine"), 409, "busy")


def test_every_error_of_ours_has_a_status() -> None:
    for name in errors.__dict__:
        error = getattr(errors, name)
        if isinstance(error, type) and issubclass(error, errors.LeanfrontError):
            assert any(issubclass(error, kind) and slug in KINDS for kind, slug in ERRORS)


def test_a_database_that_fails_is_503_and_tells_nothing(
    file_store: FrontierStore, fill: Any, serving: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    fill.search(file_store)
    with serving(file_store) as url, httpx2.Client(base_url=url) as client:
        path = file_store.database.path
        assert path is not None
        with sqlite3.connect(path) as connection:
            connection.execute("ALTER TABLE leanfront_searches RENAME TO gone")
        connection.close()
        for address in ("/api/v1/searches/mine", "/api/v1/searches", "/api/v1/searches/mine/select"):
            answer = client.get(address)
            found = problem(answer, 503, "storage")
            assert int(answer.headers["retry-after"]) > 0
            assert str(path) not in answer.text
            reasons = [r for r in caplog.records if getattr(r, "request_id", "") == found["request_id"]]
            assert any("no such table" in r.getMessage() for r in reasons)
        # Measurements go on without the database's.
        assert "leanfront_database_up 0.0" in client.get("/metrics").text


def test_a_bug_is_500_with_an_id_and_no_trace(
    file_store: FrontierStore,
    fill: Any,
    serving: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill.search(file_store)

    def broken(*arguments: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(file_store, "candidate", broken)
    with caplog.at_level(logging.INFO), serving(file_store) as url, httpx2.Client(base_url=url) as client:
        answer = client.get(f"{API}/candidates/1")
        found = problem(answer, 500, "internal")
        assert "secret" not in answer.text
        failed = [
            r for r in caplog.records if r.exc_info and getattr(r, "request_id", "") == found["request_id"]
        ]
        assert "secret inside" in str(failed[0].exc_info)
        # The server is none the worse for it.
        assert client.get(f"{API}/searches/mine").status_code == 200


def test_ids_of_requests(file_client: httpx2.Client) -> None:
    given = file_client.get(f"{API}/health", headers={"X-Request-ID": "mine-1.2_3"})
    assert given.headers["x-request-id"] == "mine-1.2_3"
    for wrong in ("a b", "x" * 65, "<script>", ""):
        made = file_client.get(f"{API}/health", headers={"X-Request-ID": wrong}).headers["x-request-id"]
        assert made != wrong
        assert len(made) == 32


def raw(client: httpx2.Client, *parts: bytes) -> bytes:
    """What the server says to bytes of an unfriendly client, until it hangs up."""
    url = httpx2.URL(client.base_url)
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:
                break
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
                if answer.endswith(b"}"):
                    break
        except ConnectionResetError:
            pass
        return answer


HEAD = b"POST /api/v1/searches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_a_body_that_says_it_is_too_large(file_client: httpx2.Client) -> None:
    answer = raw(file_client, HEAD + b"Content-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_too_large_and_does_not_say_so(file_client: httpx2.Client) -> None:
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    answer = raw(file_client, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 100)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"too-large" in answer


def test_a_body_that_never_ends(file_store: FrontierStore, serving: Callable[..., Any]) -> None:
    with serving(file_store, body_seconds=0.3) as url, httpx2.Client(base_url=url) as client:
        answer = raw(client, HEAD + b"Content-Length: 50\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_heads_that_are_none(file_client: httpx2.Client) -> None:
    assert raw(file_client, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert raw(file_client, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000).startswith(
        b"HTTP/1.1 4"
    )
    assert file_client.get(f"{API}/health").status_code == 200


def test_too_many_requests_at_once(
    file_store: FrontierStore, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def slow(**arguments: object) -> list[Any]:
        release.wait(20)
        return []

    monkeypatch.setattr(file_store, "searches", slow)
    with serving(file_store, requests=2, streams=0) as url, httpx2.Client(base_url=url, timeout=20) as client:
        waiting = [threading.Thread(target=client.get, args=(SEARCHES,)) for _ in range(2)]
        for thread in waiting:
            thread.start()
        begin = time.monotonic()
        while (answer := client.get(f"{API}/targets")).status_code != 503:
            assert time.monotonic() - begin < 15
        problem(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
        release.set()
        for thread in waiting:
            thread.join()
        assert client.get(f"{API}/targets").status_code == 200
