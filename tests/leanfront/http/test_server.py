"""`leanfront serve` as a process: what it says, how it stops."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from leanfront.cli.serve import serve
from leanfront.core.storage import FrontierStore

API = "/api/v1"
SERVE = "from leanfront.cli.serve import serve; serve()"
Line = dict[str, Any]


class Process:
    """A server in a process of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, "--port", "0", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": "", "OMP_NUM_THREADS": "1", **environment},
        )
        self.lines: list[Line] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"] == "listening":
                self._listening.set()
        self._listening.set()

    @property
    def url(self) -> str:
        assert self._listening.wait(60)
        return str(next(line["url"] for line in self.lines if line["message"] == "listening"))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._reader.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_streams_and_the_process(file_store: FrontierStore, fill: Any, number: int) -> None:
    fill.search(file_store)
    file_store.create_search(fill.record("waiting", state="queued"))
    secret = "a-key-that-must-not-be-logged"
    with Process("--database", f"sqlite:///{file_store.database.path}", LEANFRONT_API_KEYS=secret) as server:
        headers = {"Authorization": f"Bearer {secret}", "X-Request-ID": "seen-in-the-log"}
        with httpx2.Client(base_url=server.url, headers=headers, timeout=20) as client:
            assert client.get(f"{API}/searches/mine?").status_code == 200
            assert client.get(f"{API}/searches/{secret}").status_code == 404
            with client.stream("GET", f"{API}/searches/waiting/events") as answer:
                lines = answer.iter_lines()
                assert next(lines).startswith("retry")
                assert server.end(number) == 0
                # The stream was ended, not cut off.
                assert "state" in "".join(lines)
        requests = [line for line in server.lines if line["message"] == "request"]
        first = next(line for line in requests if line["route"] == "/api/v1/searches/{name}")
        assert (first["request_id"], first["method"], first["status"]) == ("seen-in-the-log", "GET", 200)
        assert first["milliseconds"] > 0
        assert any(line["route"].endswith("/events") for line in requests)
        assert secret not in json.dumps(server.lines)
        assert all({"time", "level", "logger", "message"} <= set(line) for line in server.lines)


def test_running_requests_are_finished(
    file_store: FrontierStore, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(**arguments: object) -> list[Any]:
        begun.set()
        release.wait(20)
        return []

    monkeypatch.setattr(file_store, "searches", slow)
    statuses: list[int] = []
    with serving(file_store) as url:
        asking = threading.Thread(
            target=lambda: statuses.append(httpx2.get(f"{url}{API}/searches", timeout=20).status_code)
        )
        asking.start()
        assert begun.wait(10)
        threading.Timer(0.5, release.set).start()
    asking.join(10)
    assert statuses == [200]


def test_targets_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text(
        '[targets]\nmine = "folder/file.py:target?depth=3"\n'
        'other = {target = "digits", description = "ten digits"}\n',
        encoding="utf-8",
    )
    with Process(
        "--database", f"sqlite:///{tmp_path}/x.db", "--targets", str(file), "--target", "third=digits"
    ) as server:
        found = httpx2.get(f"{server.url}{API}/targets").json()
        assert [row["name"] for row in found] == ["mine", "other", "third"]
        assert found[1]["description"] == "ten digits"
        assert server.end() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "LEANFRONT_API_KEYS"),
        (["--port", "70000"], "65535"),
        (["--target", "x"], "NAME=TARGET"),
        (["--target", "x=nothing"], "nothing"),
        (["--targets", "missing.toml"], "missing.toml"),
        (["--log-level", "loud"], "loud"),
    ],
)
def test_wrong_use(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(serve, [*arguments, "--database", "sqlite:///w.db"])
    assert result.exit_code != 0
    assert says in (result.output + str(result.exception))


def test_a_second_server_on_a_taken_port(serving: Callable[..., Any], file_store: FrontierStore) -> None:
    with serving(file_store) as url:
        port = url.rpartition(":")[2]
        result = CliRunner().invoke(serve, ["--port", port, "--database", "sqlite:///w.db"])
        assert "in use" in str(result.exception)


def test_the_socket_answers_at_once(file_store: FrontierStore, serving: Callable[..., Any]) -> None:
    # Nagle's algorithm and delayed acknowledgements together would cost every answer 40 ms.
    with serving(file_store) as url:
        address = httpx2.URL(url)
        with socket.create_connection((address.host, address.port or 0)):
            pass
        with httpx2.Client(base_url=url) as client:
            spent = []
            for _ in range(30):
                begin = time.perf_counter()
                client.get(f"{API}/targets")
                spent.append(time.perf_counter() - begin)
    assert sorted(spent)[5] < 0.03
