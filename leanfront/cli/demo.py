"""The demo: the main job on data that is always at hand."""

from __future__ import annotations

from pathlib import Path

import click

from leanfront.core.search import SearchOptions
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import resolve
from leanfront.local.search_result import infeasible_text
from leanfront.local.searches import free_name, run_search
from leanfront.locations import DEFAULT_DATABASE
from leanfront.reports import text
from leanfront.reports.plot import write_plot

SMALLER = 8
"""The demo's budget: this many times less memory than the dense model."""


def run_demo(store: FrontierStore, url: str, trials: int, plot: Path) -> None:
    """Search digits, show the frontier, answer a budget query, write the plot, name the next command."""
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
        click.echo(infeasible_text(answer))
    write_plot(record, result.candidates(), plot)
    click.echo(f"\n5. The picture: {plot} (open it in a browser; it needs no network).")
    click.echo(f"\nNext: {text.next_question(record, None if url == DEFAULT_DATABASE else url)}")
    click.echo("Your own model: docs/tutorial.md")
