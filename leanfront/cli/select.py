"""``leanfront select``."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from leanfront.actions.measured_selection import MOST_MEASURED
from leanfront.cli.exits import INFEASIBLE
from leanfront.cli.options import (
    assignments,
    database_option,
    json_option,
    limit_options,
    limits,
    stage_option,
)
from leanfront.cli.output import print_json
from leanfront.core.objectives import STRATEGIES
from leanfront.errors import LeanfrontError, UsageError

if TYPE_CHECKING:
    from leanfront.core.objectives import Selection
    from leanfront.local.search_result import SearchResult


@click.command()
@click.argument("name")
@limit_options
@stage_option
@click.option("--strategy", default="accuracy", show_default=True, help=f"One of {', '.join(STRATEGIES)}.")
@click.option("--order", help="lexicographic: objectives, most important first, comma-separated.")
@click.option(
    "--tolerance", type=float, help="lexicographic: difference that counts as equal, in the objective's unit."
)
@click.option(
    "--weight", "weights", metavar="OBJECTIVE=VALUE", multiple=True, help="chebyshev: weight of an objective."
)
@click.option(
    "--measure",
    default=MOST_MEASURED,
    show_default=True,
    help="Largest number of candidates on which to measure limited metrics that are missing; 0 for none.",
)
@click.option("--no-verify", is_flag=True, help="Do not verify the candidate if it is not verified yet.")
@database_option
@json_option
def select(name: str, strategy: str, stage: str, database: str | None, as_json: bool, **options: Any) -> None:
    """Show the candidate to ship within a budget. Exit code 3 if no candidate is within it."""
    from leanfront.local.search_result import SearchResult
    from leanfront.locations import open_store
    from leanfront.reports import text

    result = SearchResult(open_store(database), name)
    record = result.record

    def told(candidate: int, metrics: tuple[str, ...]) -> None:
        click.echo(f"measuring {', '.join(metrics)} of candidate {candidate}", err=True)

    answer = result.selection(
        **limits(options),
        strategy=strategy,
        stage=stage,
        measure=options["measure"],
        told=told,
        **_strategy_options(options),
    )
    if not options["no_verify"]:
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
        click.echo(
            f"note: {text.unmeasured_text(answer)}: --measure {2 * options['measure'] or 16}", err=True
        )
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


def _strategy_options(options: dict[str, Any]) -> dict[str, Any]:
    order = options["order"]
    weights = {name: _number(value) for name, value in assignments(options["weights"], "--weight").items()}
    return {
        "order": None if order is None else tuple(part.strip() for part in order.split(",")),
        "tolerance": options["tolerance"],
        "weights": weights or None,
    }


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--weight takes OBJECTIVE=NUMBER, such as accuracy=2, not '{text}'") from None
