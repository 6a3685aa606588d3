"""``leanfront resume``."""

from __future__ import annotations

from typing import Any

import click

from leanfront.cli.exits import resumable
from leanfront.cli.options import database_option, given, json_option, options_from
from leanfront.cli.output import print_search
from leanfront.core.search import Place


@click.command()
@click.argument("name")
@click.option("--trials", type=int, help="New number of trials to reach.")
@click.option("--minutes", type=float, help="Wall-clock limit from now.")
@click.option("--target", help="Where the search's target is now, if it moved.")
@options_from(Place)
@database_option
@json_option
def resume(name: str, as_json: bool, database: str | None, **options: Any) -> None:
    """Resume a search that was stopped or killed, or that should run longer."""
    with resumable(lambda: name, database):
        (place,) = given(options, Place)
        from leanfront.local import searches

        own = {**place.changed(), **options}
        print_search(searches.resume(name, database=database, progress=True, **own), as_json, database)
