"""Speed of the store: reading the frontier, storing trials one by one and in bulk, and budget queries.

    python benchmarks/store.py read       # against Optuna's best_trials, get_trials with moocore, and a table scan
    python benchmarks/store.py trial      # one trial after the other, SQLite and PostgreSQL
    python benchmarks/store.py insert     # many at once, and one more beside frontiers of growing size
    python benchmarks/store.py select     # budget queries over many candidates

Candidates are synthetic; everything else is real. PostgreSQL is started for the run unless `--postgresql URL` names
an empty database; its data are then written to disk as in production. Prints Markdown.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import moocore
import numpy as np
import optuna
from numpy.typing import NDArray
from sqlalchemy import select as query

import leanfront
from leanfront.core.compressors import Configuration
from leanfront.core.objectives import Budget, Measurement, resolve
from leanfront.core.objectives.dominance import nondominated
from leanfront.core.objectives.selection import select as choose
from leanfront.core.search.candidate import Candidate, SearchRecord, TrialRecord
from leanfront.core.storage import FrontierStore, candidates
from leanfront.core.storage.tables import CandidateRow

Floats = NDArray[np.float64]
OBJECTIVES = ("accuracy", "memory", "macs")
DIMENSIONS = 60
MORE = ("bops", "activation_memory_bytes", "cross_entropy", "calibration_error", "worst_class_accuracy")
"""Further measurements besides the objectives and the file's size, as many as in a search."""
POSTGRES = Path(__file__).resolve().parents[1] / "tests" / "postgres.py"


def points(front: int, dominated: int, seed: int = 0) -> Floats:
    """Return (front + dominated, 4) accuracy, bytes, MACs and file bytes; the whole frontier comes first."""
    draw = np.random.default_rng(seed)
    # Points on a sphere around the ideal point do not dominate each other; points further out are dominated.
    directions = np.abs(draw.normal(size=(front + dominated, 3))) + 1e-3
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    values = directions
    if dominated:
        beaten = draw.integers(front, size=dominated)
        values[front:] = values[beaten] + draw.exponential(0.1, size=(dominated, 3)) + 1e-6
    accuracy, memory, macs = 1 - values[:, 0] / 10, 1e5 * values[:, 1], 1e8 * values[:, 2]
    # A file also has a header of some hundred bytes.
    file = memory + draw.integers(400, 800, size=len(memory))
    return np.column_stack([accuracy, memory, macs, file])


def entry(number: int, point: Floats, *, full: bool = True) -> tuple[TrialRecord, Candidate, bytes | None]:
    """Return a trial with its candidate; with `full`, as large as in a real search."""
    accuracy, memory, macs, file = (float(value) for value in point)
    more = [Measurement(name, accuracy, "validation") for name in MORE] if full else []
    width = DIMENSIONS if full else 1
    measurements = [
        Measurement("accuracy", accuracy, "validation", accuracy - 0.01, accuracy + 0.01, 5000),
        Measurement("memory_bytes", memory, unit="byte"),
        Measurement("macs", macs, unit="MAC"),
        Measurement("file_bytes", file, unit="byte"),
        *more,
        *([Measurement(f"cost_{place}", macs) for place in range(3)] if full else []),
    ]
    configuration = Configuration(
        channels={f"layer{place}": number % 1000 + 1 for place in range(width // 2)} | {"key": number + 1},
        weight_bits={f"layer{place}": 4 for place in range(width - width // 2)},
    )
    parameters = {f"parameter {place}": number % 7 for place in range(width)}
    return (
        TrialRecord(number, parameters),
        Candidate("it", number, configuration, measurements=tuple(measurements)),
        None,
    )


def record() -> SearchRecord:
    """Return the record of a search for the candidates."""
    cheapest = {"cheapest": {"memory_bytes": 1.0, "macs": 1.0}}
    return SearchRecord("it", "made up", "f" * 64, OBJECTIVES, dict.fromkeys(OBJECTIVES, 1.0), cheapest)


def fill(store: FrontierStore, values: Floats, *, full: bool, chunk: int = 2000) -> float:
    """Store points in the given order; return the seconds."""
    begin = time.perf_counter()
    with click.progressbar(range(0, len(values), chunk), label="filling", file=sys.stderr) as starts:
        for start in starts:
            part = values[start : start + chunk]
            store.record_many("it", [entry(start + k, point, full=full) for k, point in enumerate(part)])
    return time.perf_counter() - begin


@contextmanager
def stores(kinds: Sequence[str], postgresql: str | None) -> Iterator[Callable[[str], FrontierStore]]:
    """Yield a function that opens a fresh store of a kind."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server: Any = None
        if "postgresql" in kinds and postgresql is None:
            specification = importlib.util.spec_from_file_location("postgres", POSTGRES)
            assert specification is not None
            assert specification.loader is not None
            module = importlib.util.module_from_spec(specification)
            specification.loader.exec_module(module)
            server = stack.enter_context(module.PostgresServer(shared_buffers="512MB"))

        def fresh(kind: str) -> FrontierStore:
            url = f"sqlite:///{tempfile.mkdtemp(dir=folder)}/it.db"
            if kind == "postgresql":
                url = postgresql if server is None else stack.enter_context(server.database())
            store = stack.enter_context(FrontierStore(url))
            store.create_search(record())
            return store

        yield fresh


def timed(work: Callable[[], object], repeats: int) -> Floats:
    """Return the (repeats,) milliseconds of a function's calls."""
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - begin))
    return np.array(found)


def shown(milliseconds: Floats) -> str:
    """Format the median and the 99th percentile."""
    return f"{np.median(milliseconds):.2f} | {np.quantile(milliseconds, 0.99):.2f}"


_KINDS = click.option(
    "--database", "kinds", multiple=True, type=click.Choice(["sqlite", "postgresql"]), help="Default: both."
)
_SERVER = click.option(
    "--postgresql", metavar="URL", help="Empty database to use instead of starting a server."
)


def _both(kinds: Sequence[str]) -> Sequence[str]:
    return kinds or ("sqlite", "postgresql")


@click.group()
def main() -> None:
    """Benchmarks of the store."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    click.echo(
        f"leanfront {leanfront.__version__}, Optuna {optuna.__version__}, SQLite {sqlite3.sqlite_version}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load}",
        err=True,
    )


@main.command()
@click.option("--trials", default=10_000, show_default=True)
@click.option("--front", default=1_000, show_default=True, help="Members of the frontier among them.")
@click.option("--repeats", default=200, show_default=True)
@_KINDS
@_SERVER
def read(trials: int, front: int, repeats: int, kinds: Sequence[str], postgresql: str | None) -> None:
    """Read the whole frontier as records."""
    values = points(front, trials - front)[:, :3]
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={f"parameter {place}": 1 for place in range(DIMENSIONS)},
                distributions={
                    f"parameter {place}": optuna.distributions.IntDistribution(0, 6)
                    for place in range(DIMENSIONS)
                },
                values=row.tolist(),
            )
            for row in values
        ]
    )
    objectives = resolve(OBJECTIVES)

    def with_moocore() -> list[optuna.trial.FrozenTrial]:
        found = study.get_trials(deepcopy=False)
        mask = moocore.is_nondominated(
            np.array([trial.values for trial in found]), maximise=[True, False, False], keep_weakly=True
        )
        return [trial for trial, keep in zip(found, mask, strict=True) if keep]

    slow = timed(lambda: study.best_trials, 3)
    assert len(study.best_trials) == len(with_moocore()) == front
    rows = [
        ("Optuna, `study.best_trials`", slow),
        ("Optuna, `get_trials(deepcopy=False)` and moocore", timed(with_moocore, 20)),
    ]
    with stores(_both(kinds), postgresql) as fresh:
        for kind in _both(kinds):
            store = fresh(kind)
            fill(store, points(front, trials - front), full=True)

            def scan(store: FrontierStore = store) -> list[Candidate]:
                with store.database.reading() as session:
                    found = session.execute(query(CandidateRow.id, CandidateRow.objective_values)).all()
                    vectors = np.array([values for _, values in found]) * [-1.0, 1.0, 1.0]
                    ids = [row[0] for row, keep in zip(found, nondominated(vectors), strict=True) if keep]
                    return list(candidates.load(session, ids).values())

            def first(store: FrontierStore = store) -> list[Candidate]:
                with FrontierStore(store.database.engine.url.render_as_string(hide_password=False)) as other:
                    return other.frontier("it")

            def again(store: FrontierStore = store) -> list[Candidate]:
                return store.frontier("it")

            assert len(scan()) == len(first()) == len(again()) == front
            assert len(objectives) == 3
            rows += [
                (f"{kind}, table scan", timed(scan, 10)),
                (f"{kind}, leanfront in a new store, including opening it", timed(first, 10)),
                (f"{kind}, leanfront", timed(again, repeats)),
            ]
    click.echo(
        f"| the frontier of {front:,} among {trials:,} trials | median ms | p99 ms | times faster |"
        "\n|---|---|---|---|"
    )
    for name, found in rows:
        click.echo(f"| {name} | {shown(found)} | {np.median(slow) / np.median(found):,.0f} |")


@main.command()
@click.option("--trials", default=1000, show_default=True)
@_KINDS
@_SERVER
def trial(trials: int, kinds: Sequence[str], postgresql: str | None) -> None:
    """Store one trial after the other, each durable before the next."""
    entries = [entry(number, point) for number, point in enumerate(points(trials // 10, trials))]
    order = np.random.default_rng(1).permutation(len(entries))[:trials]
    click.echo(
        f"| one trial of {DIMENSIONS} dimensions, {len(entries[0][1].measurements)} measurements "
        "| median ms | p99 ms |"
        "\n|---|---|---|"
    )
    with stores(_both(kinds), postgresql) as fresh:
        for kind in _both(kinds):
            store, waiting = fresh(kind), iter(order)
            store.record("it", *entry(10**6, points(1, 1)[1]))
            found = timed(
                lambda store=store, waiting=waiting: store.record("it", *entries[next(waiting)]), trials
            )
            click.echo(f"| {kind} | {shown(found)} |")


@main.command()
@click.option("--candidates", "count", default=100_000, show_default=True)
@click.option("--front", default=1_000, show_default=True, help="Members of the frontier among them.")
@click.option(
    "--sizes", default="1000,10000,100000", show_default=True, help="Sizes of frontiers, comma-separated."
)
@click.option("--repeats", default=200, show_default=True)
@_KINDS
@_SERVER
def insert(
    count: int, front: int, sizes: str, repeats: int, kinds: Sequence[str], postgresql: str | None
) -> None:
    """Store many candidates at once, and one more beside a frontier."""
    with stores(_both(kinds), postgresql) as fresh:
        click.echo(
            "| candidates stored, 2,000 at once | frontier | s | candidates a second |\n|---|---|---|---|"
        )
        values = points(front, count - front)
        values = values[np.random.default_rng(1).permutation(count)]
        for kind in _both(kinds):
            store = fresh(kind)
            seconds = fill(store, values, full=False)
            size = store.search("it").frontier_size
            click.echo(f"| {kind}: {count:,} | {size:,} | {seconds:.1f} | {count / seconds:,.0f} |")
        click.echo(
            "\n| one more trial beside a frontier of | median ms | p99 ms | dominated: median ms | p99 ms |"
        )
        click.echo("|---|---|---|---|---|")
        for kind in _both(kinds):
            for size in (int(part) for part in sizes.split(",")):
                store, values = fresh(kind), points(size + repeats, repeats, seed=size)
                fill(store, values[:size], full=False)
                rest = iter([entry(size + k, point, full=False) for k, point in enumerate(values[size:])])
                found = [
                    timed(lambda store=store, rest=rest: store.record("it", *next(rest)), repeats)
                    for _ in range(2)
                ]
                click.echo(f"| {kind}: {size:,} | {shown(found[0])} | {shown(found[1])} |")


@main.command()
@click.option("--candidates", "count", default=1_000_000, show_default=True)
@click.option("--front", default=10_000, show_default=True, help="Members of the frontier among them.")
@click.option("--repeats", default=500, show_default=True)
@_KINDS
@_SERVER
def select(count: int, front: int, repeats: int, kinds: Sequence[str], postgresql: str | None) -> None:
    """Run budget queries, each with different limits."""
    values = points(front, count - front)
    draw = np.random.default_rng(2)
    quantiles = np.quantile(values, np.linspace(0, 1, 1001), axis=0)
    _, memory, macs, file = quantiles.T

    def some(levels: Floats, least: float = 0.02, most: float = 0.98) -> float:
        return float(levels[int(1000 * draw.uniform(least, most))])

    def feasible() -> Budget:
        return Budget({"memory": some(memory, 0.2), "macs": some(macs, 0.2)})

    questions: dict[str, tuple[Callable[[], Budget], str]] = {
        "bytes and MACs": (feasible, "accuracy"),
        "infeasible": (
            lambda: Budget(
                {"memory": memory[0] * draw.uniform(0.1, 0.9), "macs": some(macs)}, {"accuracy": 0.5}
            ),
            "accuracy",
        ),
        "knee within bytes and MACs": (feasible, "knee"),
        "Chebyshev within bytes and MACs": (feasible, "chebyshev"),
        "the file's size, no objective": (lambda: Budget({"file_size": some(file)}), "accuracy"),
        "the file's size and MACs": (
            lambda: Budget({"file_size": some(file, 0.2), "macs": some(macs, 0.2)}),
            "accuracy",
        ),
        "the file's size, infeasible": (
            lambda: Budget({"file_size": file[0] * draw.uniform(0.1, 0.9), "macs": some(macs)}),
            "accuracy",
        ),
    }
    objectives = resolve(OBJECTIVES)
    with stores(_both(kinds), postgresql) as fresh:
        for kind in _both(kinds):
            store = fresh(kind)
            fill(store, values, full=False)
            click.echo(
                f"| {kind}: {count:,} candidates, frontier {front:,}; limits on | median ms | p99 ms |\n|---|---|---|"
            )
            for name, (budget, strategy) in questions.items():
                asked = [budget() for _ in range(repeats)]
                store.select("it", asked[0], strategy=strategy)
                waiting = iter(asked)
                found = timed(
                    lambda store=store, waiting=waiting, strategy=strategy: store.select(
                        "it", next(waiting), strategy=strategy
                    ),
                    repeats,
                )
                click.echo(f"| {name} | {shown(found)} |")
            if count <= 100_000:
                everything = list(store.candidates("it"))
                found = timed(lambda everything=everything: choose(everything, feasible(), objectives), 3)
                click.echo(
                    f"| bytes and MACs, linear search over all candidates in memory | {shown(found)} |"
                )


if __name__ == "__main__":
    main()
