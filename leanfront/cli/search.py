"""``leanfront search``."""

from __future__ import annotations

from typing import Any

import click

from leanfront.cli.exits import resumable
from leanfront.cli.options import database_option, json_option, place_options
from leanfront.cli.output import print_search
from leanfront.core.audit.kinds.limits.space_bounds import DROP
from leanfront.core.compressors import CRITERIA
from leanfront.core.cost_models import BACKENDS, LatencyOptions
from leanfront.core.search import SAMPLERS, SearchOptions, SpaceOptions
from leanfront.core.search.options import MOST_RECOVERED
from leanfront.core.search.racing import FALSE_ELIMINATION
from leanfront.core.search.space_options import ACTIVATION_MODES, SPARSITY_MODES
from leanfront.errors import UsageError

_LATENCY = LatencyOptions()


@click.command()
@click.argument("target")
@click.option("--name", help="Of the search; made from the target's name otherwise.")
@click.option("--trials", default=200, show_default=True, help="Configurations to try.")
@click.option("--minutes", type=float, help="Wall-clock limit; ends with the best so far.")
@click.option("--objectives", default="accuracy,memory,macs", show_default=True, help="Costs and metrics.")
@click.option(
    "--metrics", default="", metavar="LIST", help="Measure these, too: mce, flip_rate; others are always."
)
@click.option("--bits", default="2,3,4,5,6,8", show_default=True, help="Weight bit-widths to choose from.")
@click.option(
    "--criterion", default="reconstruction", show_default=True, help=f"One of {', '.join(CRITERIA)}."
)
@click.option(
    "--method",
    default="sequential",
    show_default=True,
    help="How kept weights are made: sequential (refit layer after layer), bank (faster) or rounding (plain).",
)
@click.option("--sparsity", default="none", show_default=True, help=f"One of {', '.join(SPARSITY_MODES)}.")
@click.option(
    "--activation-bits", default="float", show_default=True, help=f"One of {', '.join(ACTIVATION_MODES)}."
)
@click.option("--sampler", default="auto", show_default=True, help=f"One of {', '.join(SAMPLERS)}.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same trials.")
@place_options
@click.option("--samples", default=512, show_default=True, help="Calibration samples.")
@click.option(
    "--false-elimination",
    default=FALSE_ELIMINATION,
    show_default=True,
    help="Share of better candidates that may be stopped early; 0: stop none.",
)
@click.option(
    "--latency-backend",
    metavar="NAME",
    help=f"Predict and measure latency in {' or '.join(BACKENDS)} [default: {_LATENCY.backend}, where "
    "latency is an objective or another of these options is given].",
)
@click.option("--latency-threads", type=int, help=f"Threads of one run [default: {_LATENCY.threads}].")
@click.option("--latency-batch", type=int, help=f"Inputs of one run [default: {_LATENCY.batch}].")
@click.option(
    "--recover",
    type=int,
    metavar="EPOCHS",
    help="When the trials are done, train the frontier's most promising members, in this process.",
)
@click.option(
    "--recover-minutes",
    type=float,
    help=f"Time for that, on top of --minutes [default: none; {MOST_RECOVERED} are trained].",
)
@click.option(
    "--limits",
    metavar="NAME|FILE.json",
    help="Leave out what the audit 'limits' of a search, or in a file, shows to be too much for a layer.",
)
@click.option(
    "--limits-drop",
    default=DROP,
    show_default=True,
    help="Too much: a larger loss of accuracy than this of one layer alone.",
)
@database_option
@json_option
def search(target: str, name: str | None, as_json: bool, database: str | None, **options: Any) -> None:
    """Search compressed versions of TARGET and keep the frontier."""
    with resumable(lambda: name, database):
        from leanfront.actions.space_bounds import read_bounds
        from leanfront.core.targets import resolve
        from leanfront.local.searches import free_name, run_search
        from leanfront.locations import open_store

        store = open_store(database)
        bounds = (
            {} if options["limits"] is None else read_bounds(store, options["limits"], options["limits_drop"])
        )
        parsed = SearchOptions(
            trials=options["trials"],
            minutes=options["minutes"],
            objectives=tuple(part.strip() for part in options["objectives"].split(",")),
            space=SpaceOptions(
                _bits(options["bits"]),
                options["activation_bits"],
                options["sparsity"],
                options["criterion"],
                options["method"],
                seed=options["seed"],
                bounds=bounds,
            ),
            sampler=options["sampler"],
            seed=options["seed"],
            workers=options["workers"],
            device=options["device"],
            cluster=options["cluster"],
            samples=options["samples"],
            false_elimination=options["false_elimination"],
            latency=LatencyOptions.of(
                *(options[f"latency_{name}"] for name in ("backend", "threads", "batch"))
            ),
            recover=options["recover"],
            recover_minutes=options["recover_minutes"],
            metrics=tuple(part.strip() for part in options["metrics"].split(",") if part.strip()),
        )
        resolved = resolve(target)
        name = name or free_name(store, resolved.name or "search")
        for cut in resolved.cuts:
            click.echo(cut, err=True)
        print_search(run_search(resolved, store, parsed, name=name, progress=True), as_json, database)


def _bits(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--bits takes whole numbers separated by commas, such as 2,4,8, not '{text}'"
        ) from None
