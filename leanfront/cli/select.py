"""``leanfront select``."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from leanfront.actions.measured_selection import MOST_MEASURED
from leanfront.actions.selection_options import SelectionOptions
from leanfront.cli.exits import INFEASIBLE
from leanfront.cli.options import database_option, json_option, options_from, taken
from leanfront.cli.output import print_json
from leanfront.core.objectives.budget_options import BudgetOptions
from leanfront.errors import LeanfrontError

if TYPE_CHECKING:
    from leanfront.core.objectives import Selection
    from leanfront.local.search_result import SearchResult


@click.command()
@click.argument("name")
@options_from(BudgetOptions, SelectionOptions)
@click.option("--no-verify", is_flag=True, help="Do not verify the candidate if it is not verified yet.")
@database_option
@json_option
def select(name: str, no_verify: bool, database: str | None, as_json: bool, **options: Any) -> None:
    """Show the candidate to ship within a budget. Exit code 3 if no candidate is within it."""
    from leanfront.local.search_result import SearchResult
    from leanfront.locations import open_store
    from leanfront.reports import text

    result = SearchResult(open_store(database), name)
    record = result.record

    def told(candidate: int, metrics: tuple[str, ...]) -> None:
        click.echo(f"measuring {', '.join(metrics)} of candidate {candidate}", err=True)

    asked = taken(options, BudgetOptions, SelectionOptions)
    answer = result.selection(**asked, told=told)
    if not no_verify:
        answer = _verified(result, answer)
    if as_json:
        print_json(answer.to_json())
    elif answer.feasible and answer.candidate is not None:
        click.echo(text.candidate_text(record, answer.candidate))
    else:
        click.echo(text.infeasible_text(answer))
        if answer.nearest is not None:
            click.echo("\nnearest:\n" + text.candidate_text(record, answer.nearest))
    if answer.note:
        click.echo(f"note: {answer.note}", err=True)
    if answer.unmeasured:
        more = 2 * asked.get("measure", MOST_MEASURED) or MOST_MEASURED
        click.echo(f"note: {text.unmeasured_text(answer)}: --measure {more}", err=True)
    if not answer.feasible:
        sys.exit(INFEASIBLE)


def _verified(result: SearchResult, answer: Selection[Any]) -> Selection[Any]:
    """Return the answer with its candidate verified; print failures and false claims to standard error."""
    chosen = answer.candidate
    if chosen is None:
        return answer
    if chosen.verified is not None:
        if not chosen.verified:
            click.echo(
                f"warning: claims about candidate {chosen.id} do not hold: leanfront verify {chosen.id}",
                err=True,
            )
        return answer

    try:
        verification = result.verifier().verify(chosen)
    except LeanfrontError as error:
        click.echo(f"candidate {chosen.id} is not verified: {error}", err=True)
        return answer
    if not verification.ok:
        click.echo(f"warning: {verification.broken_text}", err=True)
    return replace(answer, candidate=replace(chosen, verified=verification.ok))
