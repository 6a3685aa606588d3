"""Commands and scripts in processes of their own that need not import torch again: forked from one that has."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

PREPARED = (
    "leanfront.cli",
    "leanfront.core.search.lifecycle",
    "leanfront.core.storage.frontier_store",
    "leanfront.local.searches",
    "leanfront.worker.runner",
    "leanfront.worker.handlers",
    "optuna",
    "sklearn.datasets",
    "torch._dynamo",
    "torchvision",
)
"""What most commands import, and a target's training."""
PROGRAMS = ("leanfront", "python", "pytest")
"""What can be forked; Python only with a script."""
SET_CHILD_SUBREAPER = 36
"""`PR_SET_CHILD_SUBREAPER` of Linux's prctl."""


class Forks:
    """A process that forks one for each command; a context.

    It has one thread, so that forking is safe, and imports nothing that starts more. What it forks becomes a child
    of this process, as if it had been started here.
    """

    def __init__(self) -> None:
        # Orphans of our descendants become our children, whom we can wait for.
        assert not ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
            )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._server.wait(30)

    def start(self, command: Sequence[str], **options: Any) -> Forked:
        """Start one of `PROGRAMS`; options as of `subprocess.Popen`."""
        return Forked(self, command, **options)

    def run(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as `subprocess.run` does that captures text."""
        with self.start(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        ) as process:
            out, err = process.communicate()
        return subprocess.CompletedProcess(list(command), process.returncode, out, err)

    def fork(
        self, command: Sequence[str], folder: str, environment: Mapping[str, str], files: list[int]
    ) -> int:
        """Fork a command whose standard files are these; its process ID."""
        asked = {"command": list(command), "folder": folder, "environment": dict(environment)}
        socket.send_fds(self._socket, [json.dumps(asked).encode() + b"\n"], files)
        answer = self._socket.recv(64)
        assert answer, "the process that forks has ended"
        return int(answer)


class Forked(subprocess.Popen[Any]):
    """A process that `Forks` forked.

    It is a child of this one, so only the way in which it starts differs from Python's own class.
    """

    def __init__(self, forks: Forks, command: Sequence[str], **options: Any) -> None:
        self._forks = forks
        super().__init__(command, **options)

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *rest: Any) -> None:
        _, _, cwd, env, _, _, _, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *_ = rest
        files = [p2cread, c2pwrite, errwrite]
        files = [number if file == -1 else file for number, file in enumerate(files)]
        environment = os.environ if env is None else env
        self.pid = self._forks.fork(args, os.fspath(cwd or Path.cwd()), environment, files)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]


def _serve(requests: socket.socket) -> None:
    """Answer the process ID of each command that is read."""
    for name in PREPARED:
        __import__(name)
    text = b""
    while True:
        part, files, *_ = socket.recv_fds(requests, 1 << 16, 3)
        if not part:
            return
        text += part
        while not text.endswith(b"\n"):
            text += requests.recv(1 << 16)
        asked, text = json.loads(text), b""
        reading, writing = os.pipe()
        between = os.fork()
        if not between:
            # Its parent ends at once, and whoever asked becomes its parent.
            child = os.fork()
            if child:
                os.write(writing, str(child).encode())
                os._exit(0)
            requests.close()
            _become(asked, files, [reading, writing])
        os.waitpid(between, 0)
        requests.sendall(os.read(reading, 64))
        for opened in (reading, writing, *files):
            os.close(opened)


def _become(asked: dict[str, Any], files: list[int], others: list[int]) -> None:
    """Be the command, to its end."""
    for number, opened in enumerate(files):
        os.dup2(opened, number)
    for opened in (*files, *others):
        os.close(opened)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    program, *sys.argv[1:] = asked["command"]
    code: Any = 0
    try:
        if program == "python":
            del sys.argv[0]
            # As Python does: a script finds its neighbours.
            sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            sys.argv[0] = program
            main = (
                importlib.import_module("leanfront.cli").main
                if program == "leanfront"
                else pytest.console_main
            )
            sys.exit(main())
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
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    # Not the folder of this file, which holds no user's modules.
    sys.path[0] = ""
    with socket.socket(fileno=int(sys.argv[1])) as served:
        _serve(served)
    # Nothing here needs an orderly end.
    os._exit(0)
