"""``leanfront resume``."""

from __future__ import annotations

from typing import Any

import click

from leanfront.cli.exits import resumable
from leanfront.cli.options import database_option, json_option, place_options
from leanfront.cli.output import print_search


@click.command()
@click.argument("name")
@click.option("--trials", type=int, help="New number of trials to reach.")
@click.option("--minutes", type=float, help="Wall-clock limit from now.")
@click.option("--target", help="Where the same target is now, if it moved.")
@place_options
@database_option
@json_option
def resume(name: str, as_json: bool, database: str | None, **options: Any) -> None:
    """Go on with a search that was stopped, killed, or should run longer."""
    with resumable(lambda: name, database):
        from leanfront.local import searches

        print_search(searches.resume(name, database=database, progress=True, **options), as_json, database)
