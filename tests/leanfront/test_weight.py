"""What asks, lists and serves imports nothing that computes: no torch for a question that a database answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest

from leanfront.cli.group import COMMANDS
from leanfront.core.storage import FrontierStore
from tests.leanfront.filling import Fill

HEAVY = ("torch", "torchvision", "scipy", "sklearn", "optuna", "plotly", "onnx", "onnxruntime")
TELL = """
import atexit, pathlib, sys
told = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: told.write_text("\\n".join(sys.modules), encoding="utf-8"))
"""
RUN = f"{TELL}from leanfront.cli import main\nmain(prog_name='leanfront')"
SEARCH = "mine"


def heavy(told: Path) -> list[str]:
    """The heavy packages among the modules that a process wrote down at its end."""
    modules = set(told.read_text(encoding="utf-8").split("\n"))
    return [name for name in HEAVY if name in modules]


def run(tmp_path: Path, arguments: Sequence[str], code: str = RUN) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, and find that it imported nothing heavy."""
    told = tmp_path / "modules.txt"
    done = subprocess.run(
        [sys.executable, "-c", code, str(told), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert heavy(told) == []
    return done


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database with one search of made-up trials, whose cheapest frontier member was verified."""
    url = f"sqlite:///{tmp_path_factory.mktemp('stored')}/leanfront.db"
    with FrontierStore(url) as store:
        Fill.search(store, name=SEARCH)
    return url


@pytest.fixture(scope="module")
def cheapest(stored: str) -> str:
    """The memory of that member, as a limit."""
    with FrontierStore(stored) as store:
        return f"{store.frontier(SEARCH)[0].value('memory_bytes'):.0f}B"


@pytest.mark.parametrize(
    "module", ["leanfront", "leanfront.core.storage", "leanfront.http", "leanfront.remote.client"]
)
def test_imports(tmp_path: Path, module: str) -> None:
    run(tmp_path, [], f"{TELL}import {module}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["frobnicate"],
        *([command, "--help"] for command in COMMANDS),
        *(["database", command, "--help"] for command in ("upgrade", "check", "export-study")),
    ],
    ids=" ".join,
)
def test_help(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, arguments)
    assert done.returncode == (2 if arguments == ["frobnicate"] else 0), done.stderr


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["targets"], "digits"),
        (["targets", "--json"], '"digits"'),
        (["searches"], SEARCH),
        (["searches", "--json"], f'"{SEARCH}"'),
        (["frontier", SEARCH], "dense"),
        (["frontier", SEARCH, "--max-memory", "1MB", "--stage", "before", "--json"], '"hypervolume"'),
        (["frontier", SEARCH, "--weak", "--csv"], "validation_accuracy"),
        (["select", SEARCH, "--max-memory", "1MB", "--no-verify"], "on the frontier"),
        (["select", SEARCH, "--max-memory", "{cheapest}", "--json"], '"verified"'),
        (["select", SEARCH, "--strategy", "knee", "--no-verify"], "on the frontier"),
        (["database", "upgrade"], "already"),
        (["database", "check"], SEARCH),
        (["database", "check", "--json"], f'"{SEARCH}"'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_commands(tmp_path: Path, stored: str, cheapest: str, arguments: list[str], shown: str) -> None:
    database = [] if arguments[0] == "targets" else ["--database", stored]
    done = run(tmp_path, [*(each.format(cheapest=cheapest) for each in arguments), *database])
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_what_is_wrong_or_infeasible(tmp_path: Path, stored: str) -> None:
    select = ["select", SEARCH, "--database", stored, "--max-memory"]
    assert run(tmp_path, [*select, "lots"]).returncode == 2
    assert run(tmp_path, [*select, "1B"]).returncode == 3
    assert run(tmp_path, ["select", "gone", "--database", stored]).returncode == 1


ASKED = (
    "/",
    f"/searches/{SEARCH}",
    "/api/v1/searches",
    f"/api/v1/searches/{SEARCH}",
    f"/api/v1/searches/{SEARCH}/frontier?max_memory=1MB",
    f"/api/v1/searches/{SEARCH}/select?max_memory=1MB",
    f"/api/v1/searches/{SEARCH}/knee",
    f"/api/v1/searches/{SEARCH}/audits",
    f"/api/v1/searches/{SEARCH}/audits/classes",
    "/api/v1/candidates/1",
    "/api/v1/audits/kinds",
    "/api/v1/targets",
    "/api/v1/health",
    "/openapi.json",
    "/metrics",
)


def test_a_server(tmp_path: Path, stored: str) -> None:
    told = tmp_path / "modules.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(told), "serve", "--port", "0", "--database", stored],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert process.stderr is not None
        said = json.loads(process.stderr.readline())
        with httpx2.Client(base_url=said["url"], timeout=20) as client:
            answers = {address: client.get(address).status_code for address in ASKED}
        assert answers == dict.fromkeys(ASKED, 200)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert heavy(told) == []
