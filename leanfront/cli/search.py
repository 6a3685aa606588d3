"""``leanfront search``."""

from __future__ import annotations

from typing import Any

import click

from leanfront.cli.exits import resumable
from leanfront.cli.options import database_option, given, json_option, options_from
from leanfront.cli.output import print_search
from leanfront.core.search import Place, SearchOptions


@click.command()
@click.argument("target")
@click.option("--name", help="Name of the search; by default made from the target's name.")
@options_from(SearchOptions, Place)
@database_option
@json_option
def search(target: str, name: str | None, as_json: bool, database: str | None, **options: Any) -> None:
    """Search compressed versions of TARGET and keep the frontier."""
    with resumable(lambda: name, database):
        asked, place = given(options, SearchOptions, Place)
        from leanfront.actions.space_bounds import bounded
        from leanfront.core.targets.repetition import resolve_twice
        from leanfront.local.searches import free_name, run_search
        from leanfront.locations import open_store

        store = open_store(database)
        asked = bounded(store, asked)
        resolved = resolve_twice(target)
        name = name or free_name(store, resolved.name or "search")
        for cut in resolved.cuts:
            click.echo(cut, err=True)
        print_search(run_search(resolved, store, asked, place, name=name, progress=True), as_json, database)
