"""``leanfront database``: maintenance of the database."""

from __future__ import annotations

import sys

import click

from leanfront.cli.exits import FAILED
from leanfront.cli.options import database_option, json_option
from leanfront.cli.output import print_json


@click.group()
def database() -> None:
    """Maintain the database."""


@database.command()
@database_option
def upgrade(database: str | None) -> None:
    """Upgrade the database to this release's schema."""
    from leanfront.core import storage
    from leanfront.locations import database_url

    before, after = storage.upgrade(database_url(database))
    if before == after:
        click.echo(f"the database is at schema {after} already")
    else:
        click.echo(f"the database is at schema {after} now (was {before or 'empty'})")


@database.command()
@click.argument("name")
@click.option("--storage", required=True, metavar="URL", help="Optuna storage, such as sqlite:///optuna.db.")
@click.option("--study-name", help="Name of the new study; the search's name by default.")
@database_option
def export_study(name: str, storage: str, study_name: str | None, database: str | None) -> None:
    """Write a search into an Optuna storage, for optuna-dashboard."""
    from leanfront.core import search
    from leanfront.locations import open_store

    study = search.export_study(open_store(database), name, storage, study_name)
    trials = len(study.get_trials(deepcopy=False))
    click.echo(f"wrote {trials} trials to the study '{study.study_name}' in {storage}")


@database.command()
@click.option("--clean", is_flag=True, help="First remove files from the artifact folder that nothing needs.")
@database_option
@json_option
def check(database: str | None, as_json: bool, clean: bool) -> None:
    """Check the schema, each stored frontier against brute force, and each file in the artifact folder."""
    from leanfront.core import storage
    from leanfront.locations import database_url, open_artifacts, open_shelf, open_store
    from leanfront.reports import text

    url = database_url(database)
    if clean:
        removed = open_shelf(open_store(url)).clean()
        click.echo(f"removed {removed} that nothing needs from the artifact folder", err=True)
    report = storage.check(url, open_artifacts(storage.Database(url)))
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(text.check_text(report))
    if not report.ok:
        sys.exit(FAILED)
