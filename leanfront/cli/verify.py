"""``leanfront verify``."""

from __future__ import annotations

import sys

import click

from leanfront.cli.exits import FAILED
from leanfront.cli.options import database_option, json_option
from leanfront.cli.output import print_json
from leanfront.errors import UsageError


@click.command()
@click.argument("candidate", metavar="CANDIDATE|NAME")
@click.option(
    "--all", "every", is_flag=True, help="Verify all complete candidates of a search, not only its frontier."
)
@click.option("--target", metavar="TARGET", help="Where the search's target is now, if it moved.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@database_option
@json_option
def verify(
    candidate: str, every: bool, target: str | None, device: str, database: str | None, as_json: bool
) -> None:
    """Check every claim about CANDIDATE (a number), or about a search's frontier, against its packed file alone.

    Exit code 1 if a claim does not hold.
    """
    from leanfront.core.targets import resolve
    from leanfront.local.search_result import SearchResult
    from leanfront.locations import open_store
    from leanfront.reports import text

    store = open_store(database)
    known = resolve(target) if target else None
    if candidate.isdecimal():
        if every:
            raise UsageError("--all goes with a search's name, not with a candidate")
        name = store.candidate(int(candidate)).search
        result = SearchResult(store, name, known)
        found = [result.verifier(device).verify(result.candidate(int(candidate)))]
    else:
        found = SearchResult(store, candidate, known).verify(all=every, device=device, progress=True)
    ok = all(verification.ok for verification in found)
    if as_json:
        print_json({"ok": ok, "verifications": [verification.to_json() for verification in found]})
    elif candidate.isdecimal():
        click.echo(text.verification_text(found[0]))
    else:
        click.echo(text.verifications_text(found))
    if not ok:
        sys.exit(FAILED)
