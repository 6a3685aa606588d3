"""``leanfront demo``: a complete example on data that is always available."""

from __future__ import annotations

from pathlib import Path

import click

from leanfront.cli.exits import resumable
from leanfront.cli.options import database_option

SMALLER = 8
"""Divisor of the dense model's memory that gives the demo's budget."""


@click.command()
@click.option("--trials", default=150, show_default=True, help="Configurations to try.")
@click.option("--plot", default="leanfront-demo.html", show_default=True, help="Where to write the plot.")
@database_option
def demo(trials: int, plot: str, database: str | None) -> None:
    """Search a small network on handwritten digits and show the results."""
    with resumable(lambda: None):
        _demonstrate(trials, Path(plot), database)


def _demonstrate(trials: int, plot: Path, database: str | None) -> None:
    """Search digits, show the frontier, answer a budget query, write the plot, name the next command."""
    from leanfront.core.search import SearchOptions
    from leanfront.core.targets import resolve
    from leanfront.local.searches import free_name, run_search
    from leanfront.locations import DEFAULT_DATABASE, database_url, open_store
    from leanfront.reports import text
    from leanfront.reports.plot import write_plot

    store, url = open_store(database), database_url(database)
    click.echo("1. The target: scikit-learn's handwritten digits and a small CNN, trained here.")
    target = resolve("digits")
    click.echo(f"2. The search: {trials} configurations of kept channels and bits per layer.")
    name = free_name(store, "digits-demo")
    result = run_search(target, store, SearchOptions(trials=trials), name=name, progress=True)
    record = result.record
    click.echo("3. The frontier: nothing tried is better in accuracy, memory and compute at once.\n")
    click.echo(text.frontier_text(record, result.frontier()))
    budget = int(next(m.value for m in record.dense if m.name == "memory_bytes") // SMALLER)
    click.echo(
        f"\n4. The question: the best accuracy within {text.size(budget)}, {SMALLER} times less than dense.\n"
    )
    answer = result.selection(max_memory=budget)
    if answer.feasible and answer.candidate is not None:
        click.echo(text.candidate_text(record, answer.candidate))
    else:
        click.echo(text.infeasible_text(answer))
    write_plot(record, result.candidates(), plot)
    click.echo(f"\n5. The picture: {plot} (open it in a browser; it needs no network).")
    asked = None if url == DEFAULT_DATABASE else url
    click.echo(
        f"\nNext: {text.next_question(record, result.frontier(), asked) or f'leanfront frontier {name}'}"
    )
    click.echo("Your own model: docs/tutorial.md")
