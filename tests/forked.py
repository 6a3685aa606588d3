"""Commands and scripts in processes of their own that need not import torch again: forked from one that has."""

from __future__ import annotations

import atexit
import json
import os
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

PREPARED = (
    "leanfront.cli",
    "leanfront.core.search.lifecycle",
    "leanfront.core.storage.frontier_store",
    "leanfront.local.searches",
    "optuna",
    "sklearn.datasets",
    "torch._dynamo",
    "torchvision",
)
"""What most commands import, and a target's training."""


class Forks:
    """A process that forks one for each command; a context.

    It has one thread, so that forking is safe, and imports nothing that starts more.

    Args:
        environment: what the commands see.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            env={**environment, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)
        assert self._server.stdout is not None
        self._server.stdout.close()

    def run(self, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run ``["leanfront", ...]`` or ``["python", "script.py", ...]`` in a folder, as `subprocess.run` does."""
        out, err = folder / ".forked-out", folder / ".forked-err"
        asked = {"command": command, "folder": str(folder), "out": str(out), "err": str(err)}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the process that forks has ended"
        said = [path.read_text(encoding="utf-8") for path in (out, err)]
        for path in (out, err):
            path.unlink()
        return subprocess.CompletedProcess(command, int(answer), *said)


def _serve() -> None:
    """Answer the exit code of each command that is read."""
    for name in PREPARED:
        __import__(name)
    # What commands print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    requests = os.fdopen(os.dup(0))
    for line in requests:
        child = os.fork()
        if not child:
            for opened in (requests, answers):
                os.close(opened.fileno())
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _become(asked: dict[str, Any]) -> None:
    """Be the command, to its end."""
    os.chdir(asked["folder"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, place in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
        opened = os.open(place, flags if number else os.O_RDONLY, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    program, *sys.argv[1:] = asked["command"]
    code: Any = 0
    try:
        if program == "python":
            del sys.argv[0]
            # As Python does: a script finds its neighbours.
            sys.path[0] = asked["folder"]
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            from leanfront.cli import main

            sys.argv[0] = program
            main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    # What Python does at its end: pools and threads are ended there.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    # Not the folder of this file, which holds no user's modules.
    sys.path[0] = ""
    _serve()
