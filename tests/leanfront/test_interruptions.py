"""What survives when a search is killed, interrupted, or orphaned: the real command, real signals."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import leanfront
from leanfront.core.storage import FrontierStore, check
from leanfront.core.targets import Target

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[str]"]


def _trials(path: Path) -> int:
    """Stored trials, read beside the writer."""
    if not path.exists():
        return 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return int(connection.execute("SELECT count(*) FROM leanfront_trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # the schema is being made
    finally:
        connection.close()


def _wait(path: Path, trials: int, process: subprocess.Popen[str]) -> int:
    """Wait until that many trials are stored; the number seen last."""
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        seen = _trials(path)
        if seen >= trials:
            return seen
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    raise AssertionError(f"no {trials} trials within two minutes")


def _story(store: FrontierStore, name: str) -> list[tuple[object, ...]]:
    digests = {c.id: c.configuration.digest for c in store.candidates(name, failed=True)}
    return [
        (t.number, dict(t.parameters), digests[t.candidate], t.values, t.duplicate)
        for t in store.trials(name)
    ]


def test_sigkill_loses_at_most_the_running_trial(
    tiny: Target, tiny_file: Path, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "killed.db"
    url = f"sqlite:///{path}"
    target = f"{tiny_file}:target"
    process = start("search", target, "--name", "a", "--trials", "60", "--database", url, "--device", "cpu")
    seen = _wait(path, 15, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    store = FrontierStore(url)
    left = store.search("a").trials
    assert seen <= left < 50
    assert [t.number for t in store.trials("a")] == list(range(left))
    assert check(url).ok
    # In a second process, killed again, and then to the end.
    process = start("resume", "a", "--database", url)
    _wait(path, left + 10, process)
    process.kill()
    process.communicate()
    process = start("resume", "a", "--database", url, "--json")
    output, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert '"hypervolume"' in output
    # Nothing shows that it was ever killed: the same trials as in one run.
    leanfront.search(tiny, name="whole", trials=60, database=url)
    assert _story(store, "a") == _story(store, "whole")
    assert check(url).ok


def test_interrupt_says_how_to_go_on(tiny_file: Path, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "interrupted.db"
    url = f"sqlite:///{path}"
    process = start("search", f"{tiny_file}:target", "--name", "a", "--trials", "5000", "--database", url)
    _wait(path, 10, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "leanfront resume a" in errors
    assert "Traceback" not in errors
    store = FrontierStore(url)
    assert store.search("a").state == "cancelled"
    assert check(url).ok
    process = start("resume", "a", "--trials", str(store.search("a").trials + 5), "--database", url)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert store.search("a").state == "done"


def test_interrupt_before_anything_is_stored(start: Start, tmp_path: Path) -> None:
    """The function of the target sleeps: Ctrl-C comes while it is loaded."""
    source = tmp_path / "slow.py"
    source.write_text("import time\n\ndef target():\n    print('loading', flush=True)\n    time.sleep(60)\n")
    process = start("search", f"{source}:target", "--name", "a", "--database", f"sqlite:///{tmp_path}/a.db")
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Nothing was stored" in errors
    assert "Traceback" not in errors


def _marked(mark: str) -> list[int]:
    """Processes whose environment carries the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it ended meanwhile
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc to list processes")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_pool_processes_end_with_their_driver(
    tiny_file: Path, start: Start, tmp_path: Path, end: signal.Signals
) -> None:
    path = tmp_path / "pool.db"
    mark = f"LEANFRONT_TEST_MARK=m{os.getpid()}-{time.monotonic_ns()}"
    name, _, value = mark.partition("=")
    process = start(
        "search", f"{tiny_file}:target", "--name", "a", "--trials", "5000", "--workers", "2",
        "--database", f"sqlite:///{path}", **{name: value},
    )  # fmt: skip
    _wait(path, 5, process)
    assert len(_marked(mark)) >= 3
    process.send_signal(end)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    limit = time.monotonic() + 30
    while _marked(mark) and time.monotonic() < limit:
        time.sleep(0.1)
    assert _marked(mark) == []
    url = f"sqlite:///{path}"
    before = FrontierStore(url).search("a").trials
    process = start("resume", "a", "--trials", str(before + 4), "--database", url)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert FrontierStore(url).search("a").trials == before + 4
    assert check(url).ok
