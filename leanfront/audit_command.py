"""``leanfront audit``."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import click

from audit import KINDS, LEVELS, AuditOptions, StoppedError
from audit.options import POPULATIONS, SPLITS
from leanfront import audit_text
from leanfront.auditing import DEFAULT_KINDS, audit, spread
from leanfront.database import open_store
from leanfront.options import database_option, json_option
from leanfront.progress import staged
from leanfront.result import SearchResult
from search.interrupting import interruptible
from targets import resolve
from targets.errors import UsageError

INTERRUPTED = 130
_DEFAULT = AuditOptions()


@click.command("audit")
@click.argument("name")
@click.argument("candidates", metavar="[CANDIDATE...]", nargs=-1, type=int)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(tuple(KINDS)),
    help=f"What to look at, several times if wanted.  [default: {', '.join(DEFAULT_KINDS)}]",
)
@click.option(
    "--levels",
    multiple=True,
    type=click.Choice(tuple(LEVELS)),
    help="Compare with these sets of compressed versions, too: magnitude pruning after training, magnitude pruning "
    "while training, quantisation schemes.",
)
@click.option(
    "--population",
    type=click.Choice(POPULATIONS),
    default=_DEFAULT.population,
    show_default=True,
    help="What classes and exemplars compare: re-calibrations of the model, or models trained anew.",
)
@click.option("--models", default=_DEFAULT.models, show_default=True, help="Of a population.")
@click.option("--split", type=click.Choice(SPLITS), help="Whose samples.  [default: test where there is one]")
@click.option(
    "--samples", default=_DEFAULT.samples, show_default=True, help="Images to corrupt and attack, at most."
)
@click.option(
    "--corruptions", metavar="LIST", help="Names, comma-separated, or 'all'.  [default: the main 15]"
)
@click.option(
    "--gallery", default=_DEFAULT.gallery, show_default=True, help="Exemplars shown with their image."
)
@click.option(
    "--corrupted",
    metavar="DIR",
    help="Published corrupted images (CIFAR-10-C, ImageNet-C) of the target's classes.",
)
@click.option("--shift", metavar="data=DIR", help="Images of another source, as <class>/<image>.")
@click.option("--seed", default=_DEFAULT.seed, show_default=True, help="Of everything random.")
@click.option("--target", metavar="TARGET", help="Where the search's target is now, if it moved.")
@click.option("--workers", default=1, show_default=True, help="Processes for a population.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@database_option
@json_option
def audit_command(
    name: str,
    candidates: tuple[int, ...],
    kinds: tuple[str, ...],
    target: str | None,
    workers: int,
    device: str,
    database: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Say what compression did to the candidates of search NAME beside the loss of accuracy, against the dense model.

    Without CANDIDATEs (numbers), and without --levels, some that are spread over the frontier. What is found is
    stored; what was computed is kept, so that an interrupted audit goes on with the same command.
    """
    options = _options(given)
    if workers < 1:
        raise UsageError(f"--workers takes 1 or more, not {workers}")
    store = open_store(database)
    result = SearchResult(store, name, resolve(target) if target else None)
    chosen = [store.candidate(each) for each in dict.fromkeys(candidates)]
    if not chosen and not options.levels:
        chosen = spread(store.frontier(name))
        if not chosen:
            raise UsageError(f"search '{name}' has no candidate yet: audit it when it has, or name --levels")
    try:
        with interruptible() as asked, staged(True) as report:
            records = audit(
                result,
                store,
                chosen,
                kinds or DEFAULT_KINDS,
                options,
                device=device,
                workers=workers,
                report=report,
                stop=asked,
            )
    except (KeyboardInterrupt, StoppedError):
        again = shlex.join(["leanfront", *sys.argv[1:]])
        click.echo(f"\nInterrupted. What was computed is kept; the same command goes on: {again}", err=True)
        sys.exit(INTERRUPTED)
    whole = [record for record in records if record.candidate is None]
    if as_json:
        shown = {"search": name, "audits": [record.to_json() for record in whole]}
        click.echo(json.dumps(shown, indent=2, allow_nan=False))
    else:
        click.echo("\n\n".join(audit_text.audit_text(record) for record in whole))


def _options(given: dict[str, Any]) -> AuditOptions:
    own = {key: value for key, value in given.items() if value not in (None, ())}
    named = own.pop("corruptions", None)
    if named is not None:
        from objectives.corruptions import CORRUPTIONS

        names = [part.strip() for part in str(named).split(",")]
        own["corruptions"] = tuple(CORRUPTIONS) if names == ["all"] else tuple(names)
    shift = own.pop("shift", None)
    if shift is not None:
        kind, _, where = str(shift).partition("=")
        if kind != "data" or not where:
            raise UsageError(f"--shift takes data=DIR (a folder or zip of <class>/<image>), not '{shift}'")
        own["shift"] = where
    return AuditOptions.from_json(own)
