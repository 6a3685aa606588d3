"""Output shared by several commands."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from leanfront.cli.exits import FAILED

if TYPE_CHECKING:
    from leanfront.local.search_result import SearchResult


def print_json(value: Any) -> None:
    """Print a value as JSON; nothing else is printed to standard output."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def print_search(result: SearchResult, as_json: bool, database: str | None) -> None:
    """Print the result of an ended search: frontier, warnings, and a query to try next.

    Args:
        result: the search.
        as_json: whether to print only JSON.
        database: URL of the database as the user gave it, for the query.
    """
    from leanfront.reports import text
    from leanfront.reports.shapes import frontier_json

    record, found = result.record, result.frontier()
    if record.state == "failed":
        if as_json:
            print_json(frontier_json(record, found))
        click.echo(f"Search '{record.name}' failed: {record.message}", err=True)
        sys.exit(FAILED)
    if as_json:
        print_json(frontier_json(record, found))
        return
    click.echo(text.frontier_text(record, found))
    if record.message:
        click.echo(record.message)
    question = text.next_question(record, found, database)
    if question is not None:
        click.echo(f"\nAsk it: {question}")
