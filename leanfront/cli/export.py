"""``leanfront export``."""

from __future__ import annotations

from pathlib import Path

import click

from leanfront.cli.options import database_option
from leanfront.core.compressors.exchange.formats import format_of, suffixes


@click.command()
@click.argument("candidate", type=int)
@click.option("-o", "--output", required=True, metavar="FILE", help=f"File to write; ends in {suffixes()}.")
@click.option("--target", help="Where the search's target is now, if it moved.")
@database_option
def export(candidate: int, output: str, target: str | None, database: str | None) -> None:
    """Export CANDIDATE (a number) to a file: packed for leanfront.load, ONNX, or a torch.export program."""
    from leanfront.core.targets import resolve
    from leanfront.local.search_result import SearchResult
    from leanfront.locations import open_store
    from leanfront.reports import text

    format = format_of(Path(output))
    store = open_store(database)
    name = store.candidate(candidate).search
    found = SearchResult(store, name, resolve(target) if target else None).candidate(candidate)
    path = found.export(output)
    click.echo(f"wrote {path}, {text.size(path.stat().st_size)}", err=True)
    for note in format.notes(path):
        click.echo(note, err=True)
