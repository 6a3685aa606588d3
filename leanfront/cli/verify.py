"""``leanfront verify``, and what other commands verify by themselves."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import click

from leanfront.actions.candidate_files import broken_text
from leanfront.cli.options import database_option, json_option
from leanfront.core.objectives import Selection
from leanfront.core.search import Verification
from leanfront.core.targets import resolve
from leanfront.errors import LeanfrontError, UsageError
from leanfront.local.search_result import SearchResult
from leanfront.locations import open_store
from leanfront.reports import text


@click.command()
@click.argument("candidate", metavar="CANDIDATE|NAME")
@click.option(
    "--all", "every", is_flag=True, help="Of a search all complete candidates, not the frontier's alone."
)
@click.option("--target", metavar="TARGET", help="Where the search's target is now, if it moved.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@database_option
@json_option
def verify(
    candidate: str, every: bool, target: str | None, device: str, database: str | None, as_json: bool
) -> None:
    """Find everything claimed of CANDIDATE (a number), or of a search's frontier, again in its packed file alone.

    Exit code 1 when something does not hold.
    """
    store = open_store(database)
    known = resolve(target) if target else None
    found: list[Verification]
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
        shown = {"ok": ok, "verifications": [verification.to_json() for verification in found]}
        click.echo(json.dumps(shown, indent=2, allow_nan=False))
    elif candidate.isdecimal():
        click.echo(text.verification_text(found[0]))
    else:
        click.echo(text.verifications_text(found))
    if not ok:
        sys.exit(1)


def verified(result: SearchResult, answer: Selection[Any]) -> Selection[Any]:
    """The answer with its candidate verified, if it has one that never was; why not is said on standard error."""
    chosen = answer.candidate
    if chosen is None:
        return answer
    if chosen.verified is not None:
        if not chosen.verified:
            click.echo(
                f"warning: what is claimed of candidate {chosen.id} does not hold: leanfront verify {chosen.id}",
                err=True,
            )
        return answer
    try:
        verification = result.verifier().verify(chosen)
    except LeanfrontError as error:
        click.echo(f"candidate {chosen.id} is not verified: {error}", err=True)
        return answer
    if not verification.ok:
        click.echo(f"warning: {broken_text(verification)}", err=True)
    return replace(answer, candidate=replace(chosen, verified=verification.ok))
