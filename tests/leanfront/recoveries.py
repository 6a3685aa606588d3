"""Watching a `leanfront` process that recovers candidates."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def checkpoints(url: str) -> list[str]:
    """Names of the checkpoints beside a database ``own.db``."""
    folder = Path(url.removeprefix("sqlite:///")).with_name("own-artifacts") / "recovery"
    # A process that is killed while it writes one leaves a hidden file behind.
    return sorted(path.name for path in folder.glob("[!.]*"))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is so while a process runs. Raises `AssertionError` when it ends before."""
    limit = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)
