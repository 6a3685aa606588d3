"""Who may ask: keys, loopback addresses, and web pages of others."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from leanfront.errors import UsageError
from leanfront.http import Keys, Server, Settings
from leanfront.http.gate import is_loopback
from leanfront.http.keys import VARIABLE

API = "/api/v1"
KEY = "correct-horse-battery-staple"
HASHED = "sha256:" + hashlib.sha256(b"only-its-digest-is-known").hexdigest()


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, fill: Any, serving: Callable[..., Any]
) -> Iterator[str]:
    """URL of a server with keys."""
    with FrontierStore(f"sqlite:///{tmp_path_factory.mktemp('guarded')}/x.db") as store:
        fill.search(store)
        with serving(store, keys=Keys.of([KEY, HASHED, "third-key-of-many"])) as url:
            yield url


ADDRESSES = [
    ("GET", "/api/v1/targets"),
    ("GET", "/api/v1/searches"),
    ("POST", "/api/v1/searches"),
    ("GET", "/api/v1/searches/mine"),
    ("DELETE", "/api/v1/searches/mine"),
    ("GET", "/api/v1/searches/mine/events"),
    ("GET", "/api/v1/candidates/1"),
    ("GET", "/metrics"),
    ("GET", "/nothing"),
    ("PUT", "/api/v1/health/"),
    ("HEAD", "/api/v1/searches/mine"),
]


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_no_address_answers_without_a_key(guarded: str, method: str, path: str) -> None:
    wrong = ["Bearer", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, f"Bearer {HASHED}"]
    with httpx2.Client(base_url=guarded) as client:
        for header in (None, *wrong, f"Bearer {KEY} {KEY}", "Bearer " + "x" * 10_000):
            headers = {} if header is None else {"Authorization": header}
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 401, header
            assert answer.headers["www-authenticate"].startswith("Bearer")
            if method != "HEAD":
                assert answer.json()["type"] == "urn:leanfront:problem:unauthorized"
                assert KEY not in answer.text


@pytest.mark.parametrize("key", [KEY, "only-its-digest-is-known", "third-key-of-many"])
def test_a_key_lets_in(guarded: str, key: str) -> None:
    for scheme in ("Bearer", "bearer"):
        headers = {"Authorization": f"{scheme} {key}", "Host": "api.example"}
        assert httpx2.get(guarded + "/api/v1/searches", headers=headers).status_code == 200


def test_health_and_the_document_need_no_key(guarded: str) -> None:
    assert httpx2.get(guarded + "/api/v1/health").json() == {"status": "ok"}
    full = httpx2.get(guarded + "/api/v1/health", headers={"Authorization": f"Bearer {KEY}"}).json()
    assert set(full) == {"status", "version", "database", "workers"}
    assert httpx2.get(guarded + "/openapi.json").status_code == 200
    assert httpx2.get(guarded + "/docs").status_code == 200


def test_keys_are_not_kept() -> None:
    secret = "".join(reversed("elpats-yrettab-esroh-gnorts"))
    keys = Keys.of([secret])
    held = [value for value in gc.get_referents(keys) if isinstance(value, str | bytes)]
    assert not any(secret in str(value) for value in held)
    assert secret not in repr(keys)
    assert keys.admit(secret.encode())


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f" {KEY} , {HASHED},,")
    keys = Keys.from_environment()
    assert len(keys.digests) == 2
    assert VARIABLE not in os.environ
    assert not Keys.from_environment()
    for wrong in (",", " , ", "sha256:abc", "two words", "schlüssel-mit-umlaut"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(UsageError):
            Keys.from_environment()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "198.51.100.7"])
def test_without_keys_no_other_machine_gets_in(file_store: FrontierStore, host: str) -> None:
    with pytest.raises(UsageError, match=VARIABLE):
        Server(file_store, Registry(), host=host, port=0)


def test_with_keys_every_address_will_do(file_store: FrontierStore) -> None:
    server = Server(file_store, Registry(), host="0.0.0.0", port=0, settings=Settings(keys=Keys.of([KEY])))
    assert server.url.startswith("http://0.0.0.0:")
    server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.9.9.9"])
def test_loopback_needs_no_key(file_store: FrontierStore, host: str) -> None:
    Server(file_store, Registry(), host=host, port=0).close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "300.1.1.1", "a" * 300, "\u0000"])
def test_hosts_that_are_none(file_store: FrontierStore, host: str) -> None:
    with pytest.raises(UsageError):
        Server(file_store, Registry(), host=host, port=0)


def test_a_port_that_is_taken(file_store: FrontierStore) -> None:
    first = Server(file_store, Registry(), port=0)
    port = int(first.url.rpartition(":")[2])
    with pytest.raises(UsageError, match="in use"):
        Server(file_store, Registry(), port=port)
    first.close()


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.255.0.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:198.51.100.7", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback_names(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_names_that_a_rebinding_page_would_use(file_client: httpx2.Client) -> None:
    for host in (
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "[::2]",
        "localhost@evil",
        "][",
    ):
        answer = file_client.get(f"{API}/searches", headers={"Host": host})
        assert answer.status_code == 421, host
        assert "mine" not in answer.text
    for host in ("localhost", "localhost:1", "127.0.0.1:99", "[::1]:8000"):
        assert file_client.get(f"{API}/searches", headers={"Host": host}).status_code == 200, host


def test_pages_of_other_sites_cannot_change_anything(file_client: httpx2.Client) -> None:
    own = str(file_client.base_url).rstrip("/")
    for origin in ("https://evil.example", "null", "http://localhost:1", own.replace("http", "httpx") + "1"):
        answer = file_client.post(f"{API}/searches/none/cancel", headers={"Origin": origin})
        assert answer.status_code == 403, origin
        assert file_client.delete(f"{API}/searches/mine", headers={"Origin": origin}).status_code == 403
    assert file_client.post(f"{API}/searches/none/cancel", headers={"Origin": own}).status_code == 404
    # Nothing is said to be readable by them.
    answer = file_client.get(f"{API}/searches", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
