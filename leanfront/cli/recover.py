"""``leanfront recover``."""

from __future__ import annotations

import sys
from typing import Any

import click

from leanfront.actions.recovery_limit import RecoveryLimit
from leanfront.cli.exits import FAILED, repeatable
from leanfront.cli.options import database_option, given, json_option, options_from, taken
from leanfront.cli.output import print_json
from leanfront.core.compressors import Recovery
from leanfront.core.search.options import MOST_RECOVERED
from leanfront.errors import UsageError


@click.command()
@click.argument("candidates", metavar="CANDIDATE...|NAME", nargs=-1, required=True)
@options_from(Recovery, RecoveryLimit)
@click.option("--target", metavar="TARGET", help="Where the search's target is now, if it moved.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@database_option
@json_option
@repeatable("What was learnt is kept")
def recover(
    candidates: tuple[str, ...],
    target: str | None,
    device: str,
    database: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train candidates with the dense model as teacher; each result is stored as a new candidate.

    CANDIDATEs are numbers of candidates of one search. If NAME of a search is given instead, the most promising
    members of its frontier are trained. A training that is already stored is not repeated. Exit code 1 if a
    training failed.
    """
    from leanfront.actions.recovery import prediction_json, recover_many, settings_of
    from leanfront.core.search import require_recoverable
    from leanfront.core.targets import resolve
    from leanfront.local.search_result import SearchResult
    from leanfront.locations import open_store
    from leanfront.reports import text
    from leanfront.reports.progress import trained

    settings = settings_of(taken(options, Recovery))
    (limit,) = given(options, RecoveryLimit)
    minutes = limit.minutes
    store = open_store(database)
    known = resolve(target) if target else None
    every = candidates[0].isdecimal()
    if every:
        pool = [store.candidate(_number(each)) for each in dict.fromkeys(candidates)]
        others = sorted({each.search for each in pool} - {pool[0].search})
        if others:
            raise UsageError(
                f"candidate {pool[0].id} is of search '{pool[0].search}', others of '{others[0]}': recover the "
                "candidates of one search at a time"
            )
        name = pool[0].search
        for each in pool:
            require_recoverable(each, store.search(name))
    elif len(candidates) > 1:
        raise UsageError("name candidates by their numbers, or one search")
    else:
        name = candidates[0]
        pool = store.frontier(name, stage="before")
    recoverer = SearchResult(store, name, known).recoverer(device)
    most = None if every or minutes is not None else MOST_RECOVERED
    with trained(shown=True) as report:
        attempts = recover_many(recoverer, pool, settings, minutes, all=every, most=most, report=report)
    tried = {attempt.parent.id for attempt in attempts}
    if every and (rest := [str(each.id) for each in pool if each.id not in tried]):
        click.echo(f"not begun, since the time would not have been enough: {', '.join(rest)}", err=True)
    predicted = prediction_json(recoverer, settings)
    if as_json:
        recoveries = [attempt.to_json() for attempt in attempts]
        print_json({"search": name, "recoveries": recoveries, "prediction": predicted})
    else:
        click.echo(text.attempts_text(attempts, predicted["error"], predicted["points"]))
    if any(attempt.error is not None for attempt in attempts):
        sys.exit(FAILED)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"name candidates by their numbers, or one search: '{text}' is not a number")
    return int(text)
