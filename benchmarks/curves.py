"""Compare samplers on a real target: hypervolume of stored searches by number of trials.

    for s in auto tpe nsga2; do leanfront search TARGET --sampler $s --name $s --trials 60; done
    python benchmarks/curves.py auto tpe nsga2

Hypervolumes are of (accuracy, log2 memory ratio, log2 MAC ratio) on the validation split against (dense accuracy -
drop, 0, 0). With a small drop, only candidates near the dense accuracy count.
"""

from __future__ import annotations

import click
import moocore
import numpy as np

from leanfront.core.storage import FrontierStore
from leanfront.locations import open_store

DROPS = (0.42, 0.2, 0.1)
COSTS = ("memory_bytes", "macs")


def curve(store: FrontierStore, name: str, checkpoints: tuple[int, ...], drop: float) -> list[float]:
    """Return the hypervolume of a search's candidates at each checkpoint, a number of trials."""
    record = store.search(name)
    dense = {m.name: m.value for m in record.dense if m.split in ("", "validation")}
    numbers, points = [], []
    for candidate in store.candidates(name):
        values = candidate.accuracy, *(candidate.value(cost) for cost in COSTS)
        if None not in values:
            numbers.append(candidate.number)
            points.append(values)
    array = np.array(points, dtype=np.float64)
    ratios = -np.log2(np.array([dense[cost] for cost in COSTS]) / array[:, 1:])
    vectors = np.column_stack([-array[:, 0], ratios])
    reference = [drop - dense["accuracy"], 0.0, 0.0]
    order = np.array(numbers)
    return [float(moocore.hypervolume(vectors[order < count], ref=reference)) for count in checkpoints]


@click.command(help=__doc__.partition("\n")[0])
@click.argument("names", nargs=-1, required=True)
@click.option("--trials", default="5,10,20,40,60", show_default=True, help="Checkpoints, comma-separated.")
@click.option("--database", help="URL of the database [default: leanfront's].")
def main(names: tuple[str, ...], trials: str, database: str | None) -> None:
    """Print a Markdown table with one row for each search and drop."""
    checkpoints = tuple(int(part) for part in trials.split(","))
    with open_store(database) as store:
        click.echo("| search | drop | " + " | ".join(f"{count} trials" for count in checkpoints) + " |")
        click.echo("|" + "---|" * (2 + len(checkpoints)))
        for drop in DROPS:
            for name in names:
                found = " | ".join(f"{volume:.3f}" for volume in curve(store, name, checkpoints, drop))
                click.echo(f"| {name} | {drop:g} | {found} |")


if __name__ == "__main__":
    main()
