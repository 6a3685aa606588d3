"""Latency and throughput of the HTTP API: one server process, one asyncio client on loopback.

    python benchmarks/api.py

Requests are sent at a fixed rate, whether or not earlier ones have been answered. Their time counts from the moment
they were due, so a stall of the server counts for all waiting requests. Then every connection sends requests as fast
as it can. "Its own limits" differ in every request, so that no answer can be repeated. Candidates are synthetic;
everything else is real. PostgreSQL is started for the run unless `--postgresql URL` names an empty database.
Prints Markdown.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import leanfront
from leanfront.core.storage import FrontierStore

Floats = NDArray[np.float64]
SERVE = "from leanfront.cli.serve import serve; serve()"
BASE = "/api/v1/searches/it"


def store_benchmark() -> Any:
    """Load the benchmark of the store, which generates the candidates."""
    place = Path(__file__).with_name("store.py")
    specification = importlib.util.spec_from_file_location("store_benchmark", place)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@contextmanager
def served(store: FrontierStore) -> Iterator[int]:
    """Start a server in a process of its own and yield its port."""
    url = store.database.engine.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, "--port", "0", "--database", url], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            told = json.loads(line)
            if told["message"] == "listening":
                # Keep reading the log, or its pipe fills up.
                subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
                yield int(told["url"].rpartition(":")[2])
                break
    finally:
        process.terminate()
        process.wait()


class Connection:
    """A persistent connection with minimal HTTP, so that the client adds little to the measured times."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> int:
        """Send a GET request and return the length of the answer in bytes."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        return length

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()


async def at_rate(port: int, paths: Sequence[str], rate: float, connections: int) -> tuple[Floats, int]:
    """Return (n,) milliseconds from the moment each request was due, and the length of an answer."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(Connection(port))
    found, length = np.zeros(len(paths)), 0
    begin = time.perf_counter() + 0.1

    async def ask(place: int, path: str) -> None:
        nonlocal length
        due = begin + place / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        connection = await free.get()
        length = await connection.get(path)
        found[place] = 1000 * (time.perf_counter() - due)
        free.put_nowait(connection)

    await asyncio.gather(*(ask(place, path) for place, path in enumerate(paths)))
    while not free.empty():
        free.get_nowait().close()
    return found, length


async def at_most(port: int, paths: Iterator[str], seconds: float, connections: int) -> float:
    """Return the requests a second when every connection sends the next one as soon as it has an answer."""
    end, done = time.perf_counter() + seconds, 0

    async def ask() -> None:
        nonlocal done
        connection = Connection(port)
        while time.perf_counter() < end:
            await connection.get(next(paths))
            done += 1
        connection.close()

    await asyncio.gather(*(ask() for _ in range(connections)))
    return done / seconds


@click.command()
@click.option("--candidates", "count", default=100_000, show_default=True)
@click.option("--front", default=1_000, show_default=True, help="Candidates on the frontier.")
@click.option("--rate", default=200.0, show_default=True, help="Requests a second.")
@click.option("--seconds", default=20.0, show_default=True, help="Duration of each measurement.")
@click.option("--connections", default=16, show_default=True)
@click.option(
    "--database", "kinds", multiple=True, type=click.Choice(["sqlite", "postgresql"]), help="Default: both."
)
@click.option("--postgresql", metavar="URL", help="Empty database to use instead of starting a server.")
def main(
    count: int,
    front: int,
    rate: float,
    seconds: float,
    connections: int,
    kinds: Sequence[str],
    postgresql: str | None,
) -> None:
    """Benchmark of the HTTP API."""
    click.echo(
        f"leanfront {leanfront.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, load "
        + ", ".join(f"{value:.1f}" for value in os.getloadavg()),
        err=True,
    )
    made = store_benchmark()
    values = made.points(front, count - front)
    memory, macs = (np.quantile(values[:, place], np.linspace(0, 1, 1001)) for place in (1, 2))
    draw = np.random.default_rng(3)

    def limits() -> str:
        chosen = [float(levels[int(1000 * draw.uniform(0.2, 0.98))]) for levels in (memory, macs)]
        return f"max_memory={chosen[0]:.3f}&max_macs={chosen[1]:.3f}"

    questions: dict[str, Callable[[], str]] = {
        "`select`, its own limits": lambda: f"{BASE}/select?{limits()}",
        "`select`, the same limits": lambda: f"{BASE}/select?max_memory=50KB&max_macs=50M",
        "`frontier?limit=100`": lambda: f"{BASE}/frontier?limit=100",
        "`frontier?limit=100`, its own limits": lambda: f"{BASE}/frontier?limit=100&{limits()}",
    }
    click.echo(
        f"| {count:,} candidates, frontier {front:,} | KB an answer | median ms at {rate:g}/s | p99 ms at {rate:g}/s "
        "| most requests a second |\n|---|---|---|---|---|"
    )
    chosen = kinds or ("sqlite", "postgresql")
    with made.stores(chosen, postgresql) as fresh:
        for kind in chosen:
            store = fresh(kind)
            made.fill(store, values, full=True)
            with served(store) as port:
                for name, path in questions.items():
                    asyncio.run(at_most(port, iter(path, None), 1.0, connections))
                    asked = [path() for _ in range(int(rate * seconds))]
                    found, length = asyncio.run(at_rate(port, asked, rate, connections))
                    most = asyncio.run(at_most(port, iter(path, None), seconds / 4, connections))
                    click.echo(
                        f"| {kind}: {name} | {length / 1000:.1f} | {np.median(found):.1f} "
                        f"| {np.quantile(found, 0.99):.1f} | {most:,.0f} |"
                    )


if __name__ == "__main__":
    main()
