"""``leanfront inspect``."""

from __future__ import annotations

import click

from leanfront.cli.options import json_option
from leanfront.cli.output import print_json


@click.command()
@click.argument("target")
@json_option
def inspect(target: str, as_json: bool) -> None:
    """Show which parts of a model can be compressed, which cannot, and why."""
    from leanfront.core.search import SpaceOptions, prepare
    from leanfront.core.targets import resolve
    from leanfront.reports import text

    resolved = resolve(target)
    prepared = prepare(resolved, SpaceOptions())
    if as_json:
        report = prepared.coverage.to_json()
        print_json({"target": target, **report, "dense": prepared.dense_costs, "cheapest": prepared.cheapest})
        return
    click.echo(text.coverage_text(prepared.coverage, prepared.cheapest, resolved.cuts))
