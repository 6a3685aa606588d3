"""What several commands print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from leanfront.local.search_result import SearchResult


def print_json(value: Any) -> None:
    """A value as JSON on standard output, which holds nothing else then."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def print_search(result: SearchResult, as_json: bool, database: str | None) -> None:
    """A search that has ended: its frontier, what is to be said of it, and what to ask it.

    Args:
        result: the search.
        as_json: print only JSON.
        database: its URL as it was given, for the next command.
    """
    from leanfront.reports import text
    from leanfront.reports.shapes import frontier_json

    record, found = result.record, result.frontier()
    if as_json:
        print_json(frontier_json(record, found))
        return
    click.echo(text.frontier_text(record, found))
    if record.message:
        click.echo(record.message)
    click.echo(f"\nAsk it: {text.next_question(record, database)}")
