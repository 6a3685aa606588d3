"""``leanfront frontier``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import click

from leanfront.cli.options import database_option, json_option, limit_options, limits, stage_option
from leanfront.cli.output import print_json
from leanfront.errors import UsageError


@click.command()
@click.argument("name")
@limit_options
@click.option("--weak", is_flag=True, help="Also show candidates that no other beats in every objective.")
@stage_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one row per candidate.")
@click.option("--plot", metavar="FILE.html", help="Write an interactive plot.")
@database_option
@json_option
def frontier(
    name: str,
    weak: bool,
    stage: str,
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
    found = result.frontier(**limits(options), weak=weak, stage=stage)
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
