"""``leanfront searches``."""

from __future__ import annotations

import click

from leanfront.cli.options import database_option, json_option
from leanfront.cli.output import print_json


@click.command()
@database_option
@json_option
def searches(database: str | None, as_json: bool) -> None:
    """List the searches of a database."""
    from leanfront.locations import open_store
    from leanfront.reports import text

    records = open_store(database).searches()
    if as_json:
        print_json([record.to_json() for record in records])
        return
    click.echo(text.searches_text(records))
