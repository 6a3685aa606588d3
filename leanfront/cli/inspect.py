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
    from leanfront.core.search.chance import quick_look
    from leanfront.core.targets.repetition import resolve_twice
    from leanfront.reports import text

    resolved = resolve_twice(target)
    prepared = prepare(resolved, SpaceOptions())
    remark = quick_look(resolved)
    remarks = [] if remark is None else [remark]
    if as_json:
        report = prepared.coverage.to_json()
        costs = {"dense": prepared.dense_costs, "cheapest": prepared.cheapest}
        print_json({"target": target, **report, **costs, "remarks": remarks})
        return
    click.echo(text.coverage_text(prepared.coverage, prepared.cheapest, [*remarks, *resolved.cuts]))
