"""Real `leanfront` processes that a test kills, freezes and starts again, with all that was done and said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.forked import Forks

COMMAND = Path(sys.executable).with_name("leanfront")
STARTS_WITHIN = 90.0
TAIL = 3_000
"""Characters of each log that a failing test shows."""


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until something is so. Raises `AssertionError` saying what was not."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)


class Member:
    """One process of a crew.

    Args:
        name: for people.
        log: file that gets its standard error.
        begin: starts a command, with options of `subprocess.Popen`.
        command: program and arguments.
        environment: its own variables.
    """

    def __init__(
        self,
        name: str,
        log: Path,
        begin: Callable[..., subprocess.Popen[Any]],
        command: list[str],
        environment: dict[str, str],
    ) -> None:
        self.name = name
        self.log = log
        self._begin, self._command, self._environment = begin, command, environment
        self._frozen = False
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as log:
            self._process = self._begin(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **self._environment},
            )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it is there, frozen or not."""
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    @property
    def pool(self) -> list[int]:
        """The evaluating processes below it: the children of the server that forks them."""
        return [
            pid
            for server in _children(self.pid)
            if b"multiprocessing.forkserver" in _command(server)
            for pid in _children(server)
        ]

    def is_runner(self, runner: str | None) -> bool:
        """Whether a runner of that name is this process."""
        return runner is not None and runner.split(":")[-2] == str(self.pid)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        self._frozen = False

    def freeze(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)
        self._frozen = True

    def wake(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)
        self._frozen = False

    @property
    def frozen(self) -> bool:
        """Whether it was frozen, and not woken since."""
        return self._frozen

    def ask_to_end(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def end(self) -> int:
        """Wait for its end; its exit code."""
        return self._process.wait(60)


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def gone(pid: int) -> bool:
    """Whether a process is no more, or only its parent has not noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _address(server: Member) -> str:
    """Where a server listens, or nothing while it does not yet."""
    assert server.running, server.said
    lines = [json.loads(line) for line in server.said.splitlines() if '"listening"' in line]
    return str(lines[-1]["url"]) if lines else ""


class Crew:
    """Starts processes and remembers what was done to them.

    Args:
        folder: for their logs.
        forks: what starts them.
    """

    def __init__(self, folder: Path, forks: Forks) -> None:
        self._folder, self._forks = folder, forks
        self._begin = time.monotonic()
        self._lines: list[str] = []
        self.members: list[Member] = []

    def begin(self, name: str, *arguments: str, prefix: Sequence[str] = (), **environment: str) -> Member:
        """Start `leanfront` with arguments; through another command, where there is one, the installed one."""
        begin: Callable[..., subprocess.Popen[Any]] = subprocess.Popen if prefix else self._forks.start
        command = [*prefix, str(COMMAND) if prefix else "leanfront", *arguments]
        member = Member(name, self._folder / f"{name}.log", begin, command, environment)
        self.members.append(member)
        return member

    def worker(self, name: str, url: str, *, workers: int = 2, lease: float = 3.0, **more: Any) -> Member:
        """Start ``leanfront worker``; more as for `begin`."""
        options = ("--database", url, "--workers", str(workers), "--lease", str(lease), "--device", "cpu")
        return self.begin(name, "worker", *options, **more)

    def servers(self, names: Sequence[str], url: str, *targets: str) -> list[str]:
        """Start ``leanfront serve`` under each name, on a free port; their addresses, once they listen."""
        options = [part for target in targets for part in ("--target", target)]
        started = [self.begin(name, "serve", "--port", "0", "--database", url, *options) for name in names]
        wait_for(lambda: all(map(_address, started)), f"{', '.join(names)} listen", STARTS_WITHIN)
        return [_address(member) for member in started]

    def note(self, what: str) -> None:
        """Write down what was done."""
        self._lines.append(f"{time.monotonic() - self._begin:7.2f}  {what}")

    def story(self) -> str:
        """What was done, and the end of what each process said."""
        logs = [f"--- {member.name}\n{member.said[-TAIL:]}" for member in self.members]
        return "\n".join([*self._lines, *logs])

    def end(self) -> None:
        """Ask all to end, and see that they do so in order."""
        running = [member for member in self.members if member.running]
        # A second signal would end them at once.
        for member in running:
            member.ask_to_end()
        codes = {member.name: member.end() for member in running}
        assert not any(codes.values()), codes

    def close(self) -> None:
        """Kill what is left."""
        for member in self.members:
            if member.running:
                pool = member.pool
                member.kill()
                for pid in pool:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


class Proxy:
    """A TCP port in front of a Unix socket, which can be cut: then nothing gets through and nobody is told.

    Args:
        path: of the socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._cut = threading.Event()
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket | None]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, direct: str) -> str:
        """A database's address through it."""
        address = make_url(direct)
        query = {key: value for key, value in address.query.items() if key != "host"}
        through = address.set(host="127.0.0.1", port=self.port, query=query)
        return through.render_as_string(hide_password=False)

    def cut(self) -> None:
        """Swallow everything from now on; who connects gets no answer."""
        self._cut.set()

    def heal(self) -> None:
        """Let new connections through; the old ones are reset, as by a router that has forgotten them."""
        self._cut.clear()
        self._reset()

    def close(self) -> None:
        """End it."""
        self._cut.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset()

    def _reset(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for near, far in pairs:
            with suppress(OSError):
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for end in (near, far):
                if end is not None:
                    # A thread that reads from it hears of it only by a shutdown.
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RD)
                    end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = None
            if not self._cut.is_set():
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(self._path)
                except OSError:
                    near.close()
                    continue
            with self._lock:
                self._pairs.append((near, far))
            if far is not None:
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._cut.is_set():
                    sink.sendall(data)
        if not self._cut.is_set():
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


class Freeze:
    """Freezes a runner that drives a search, until another drives it and has got further; then wakes it."""

    def __init__(self, crew: Any, store: Any, runners: list[Any], names: list[str]) -> None:
        self._crew, self._store, self._runners, self._names = crew, store, runners, names
        self._member: Any = None
        self._search = ""
        self._trials = 0
        self.over = False

    def go_on(self) -> None:
        """Do the next step, where it is time."""
        if self.over:
            return
        if self._member is None:
            for name in self._names:
                job = self._store.jobs.of_search(name)
                for runner in self._runners:
                    if job.state == "running" and runner.running and runner.is_runner(job.runner):
                        self._member, self._search = runner, name
                        self._crew.note(f"SIGSTOP {runner.name}, which drives {name}")
                        runner.freeze()
                        self._trials = self._store.search(name).trials
                        return
            return
        job = self._store.jobs.of_search(self._search)
        if (
            not self._member.is_runner(job.runner)
            and self._store.search(self._search).trials > self._trials + 2
        ):
            self._crew.note(f"SIGCONT {self._member.name}; {self._search} is driven by {job.runner}")
            self._member.wake()
            self.over = True


class SmallDisk:
    """A folder that can be filled: a file system for a hundred candidates, or a limit on a process's files.

    Args:
        folder: to make.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
        self._mounted = (
            shutil.which("mount") is not None
            and not subprocess.run(mounting, capture_output=True, check=False).returncode
        )
        self._filler = folder / "filler"
        self.words = os.strerror(errno.ENOSPC if self._mounted else errno.EFBIG)
        # Whoever may not mount may still forbid a process long files: 14 blocks of 512 bytes.
        self.prefix = () if self._mounted else ("sh", "-c", 'ulimit -f 14; exec "$@"', "limited")

    def fill(self) -> None:
        """Take what space there is."""
        if self._mounted:
            with suppress(OSError), self._filler.open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(512))

    def free(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it."""
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
