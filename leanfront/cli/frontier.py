"""``leanfront frontier``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import click

from leanfront.actions.selection_options import FrontierOptions
from leanfront.cli.options import database_option, given, json_option, options_from, taken
from leanfront.cli.output import print_json
from leanfront.core.objectives.budget_options import BudgetOptions
from leanfront.errors import UsageError


@click.command()
@click.argument("name")
@options_from(BudgetOptions, FrontierOptions)
@click.option("--weak", is_flag=True, help="Also show candidates that no other beats in every objective.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one row per candidate.")
@click.option("--plot", metavar="FILE.html", help="Write an interactive plot.")
@database_option
@json_option
def frontier(
    name: str,
    weak: bool,
    as_csv: bool,
    plot: str | None,
    database: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show the nondominated candidates of a search, within limits."""
    from leanfront.local.search_result import SearchResult
    from leanfront.locations import open_store
    from leanfront.reports import text
    from leanfront.reports.shapes import frontier_json

    if as_json and as_csv:
        raise UsageError("choose one of --json and --csv")
    result = SearchResult(open_store(database), name)
    record = result.record
    stage = given(options, FrontierOptions)[0].stage
    found = result.frontier(**taken(options, BudgetOptions), weak=weak, stage=stage)
    if plot is not None:
        from leanfront.reports.plot import write_plot

        write_plot(record, result.candidates(), Path(plot), result.bounds())
        click.echo(f"wrote {plot}", err=True)
    if as_json:
        print_json(frontier_json(record, found, stage))
    elif as_csv:
        click.echo(_csv(found.to_records()), nl=False)
    else:
        click.echo(text.frontier_text(record, found, stage))


def _csv(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
