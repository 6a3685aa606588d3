"""The command line. Each command parses, calls the Python face, prints."""

from __future__ import annotations

import csv
import io
import json
import logging
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from leanfront.actions.measured_selection import MOST as MOST_MEASURED
from leanfront.actions.measured_selection import unmeasured_text
from leanfront.actions.space_bounds import read_bounds
from leanfront.cli.audit import audit_command
from leanfront.cli.demo import run_demo
from leanfront.cli.options import (
    assignments,
    bounds_options,
    database_option,
    json_option,
    latency_options,
    limit_options,
    limits,
    place_options,
    recovery_options,
    stage_option,
)
from leanfront.cli.recover import recover
from leanfront.cli.serve import serve
from leanfront.cli.verify import verified, verify
from leanfront.core import storage
from leanfront.core.compressors import CRITERIA
from leanfront.core.compressors.exchange.formats import notes, require_format, suffixes
from leanfront.core.cost_models import LatencyOptions
from leanfront.core.objectives import STRATEGIES
from leanfront.core.search import SAMPLERS, SearchOptions, SpaceOptions, export_study
from leanfront.core.search.prepared_target import prepare
from leanfront.core.search.racing import FALSE_ELIMINATION
from leanfront.core.search.space import ACTIVATION_MODES, SPARSITY_MODES
from leanfront.core.storage.jobs import LEASE_SECONDS
from leanfront.core.targets import builtin_targets, resolve
from leanfront.core.targets.registry import Registry
from leanfront.errors import LeanfrontError, UsageError
from leanfront.local.candidates import flat
from leanfront.local.search_result import SearchResult, infeasible_text
from leanfront.local.searches import free_name, resume, run_search
from leanfront.locations import database_url, open_artifacts, open_shelf, open_store
from leanfront.reports import text
from leanfront.reports.plot import write_plot
from leanfront.reports.shapes import frontier_json
from leanfront.version import __version__
from leanfront.worker.handlers import Place
from leanfront.worker.runner import Runner, stopped_by_signals

DONE, FAILED, WRONG_USAGE, INFEASIBLE, INTERRUPTED = 0, 1, 2, 3, 130


class _Commands(click.Group):
    """Turns our errors into messages and exit codes, at one place."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            _fail(str(error), WRONG_USAGE)
        except LeanfrontError as error:
            _fail(str(error), FAILED)
        except BrokenPipeError:
            # The reader (head, less) has had enough.
            sys.stderr.close()
            sys.exit(DONE)


def _fail(message: str, code: int) -> None:
    click.echo(f"leanfront: {message}", err=True)
    sys.exit(code)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="leanfront")
def main() -> None:
    """From a trained PyTorch model and a budget to the compressed version to ship."""


@main.command()
@click.option("--trials", default=150, show_default=True, help="Configurations to try.")
@click.option("--plot", default="leanfront-demo.html", show_default=True, help="Where to write the plot.")
@database_option
def demo(trials: int, plot: str, database: str | None) -> None:
    """Search a small network on handwritten digits, and show what comes of it."""
    with _interruptible(lambda: None):
        run_demo(open_store(database), database_url(database), trials, Path(plot))


@main.command()
@json_option
def targets(as_json: bool) -> None:
    """List the built-in targets."""
    found = builtin_targets()
    if as_json:
        _print_json([{"name": name, "description": description} for name, description in found])
        return
    click.echo("\n".join(f"{name.ljust(max(len(n) for n, _ in found))}  {line}" for name, line in found))
    click.echo("\nYour own: path/to/file.py:function, returning a leanfront.Target (see docs/tutorial.md)")


@main.command()
@click.argument("target")
@json_option
def inspect(target: str, as_json: bool) -> None:
    """Say what of a model can be compressed, what is left alone, and why."""
    resolved = resolve(target)
    prepared = prepare(resolved, SpaceOptions())
    if as_json:
        report = prepared.coverage.to_json()
        _print_json(
            {"target": target, **report, "dense": prepared.dense_costs, "cheapest": prepared.cheapest}
        )
        return
    click.echo(text.coverage_text(prepared.coverage, prepared.cheapest, resolved.cuts))


@main.command()
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
@latency_options
@recovery_options
@bounds_options
@database_option
@json_option
def search(target: str, name: str | None, as_json: bool, database: str | None, **options: Any) -> None:
    """Search compressed versions of TARGET and keep the frontier."""
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
        latency=LatencyOptions.of(*(options[f"latency_{name}"] for name in ("backend", "threads", "batch"))),
        recover=options["recover"],
        recover_minutes=options["recover_minutes"],
        metrics=tuple(part.strip() for part in options["metrics"].split(",") if part.strip()),
    )
    with _interruptible(lambda: name, database):
        resolved = resolve(target)
        name = name or free_name(store, resolved.name or "search")
        for cut in resolved.cuts:
            click.echo(cut, err=True)
        _show(run_search(resolved, store, parsed, name=name, progress=True), as_json, database)


@main.command("resume")
@click.argument("name")
@click.option("--trials", type=int, help="New number of trials to reach.")
@click.option("--minutes", type=float, help="Wall-clock limit from now.")
@click.option("--target", help="Where the same target is now, if it moved.")
@place_options
@database_option
@json_option
def resume_command(name: str, as_json: bool, database: str | None, **options: Any) -> None:
    """Go on with a search that was stopped, killed, or should run longer."""
    with _interruptible(lambda: name, database):
        _show(resume(name, database=database, progress=True, **options), as_json, database)


@main.command()
@database_option
@json_option
def searches(database: str | None, as_json: bool) -> None:
    """List the searches of a database."""
    records = open_store(database).searches()
    if as_json:
        _print_json([record.to_json() for record in records])
        return
    click.echo(text.searches_text(records))


@main.command()
@click.argument("name")
@limit_options
@click.option("--weak", is_flag=True, help="Also points that no other beats in every objective.")
@stage_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one row a candidate.")
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
    if as_json and as_csv:
        raise UsageError("choose one of --json and --csv")
    result = SearchResult(open_store(database), name)
    record = result.record
    found = result.frontier(**limits(options), weak=weak, stage=stage)
    if plot is not None:
        write_plot(record, result.candidates(), Path(plot), result.bounds())
        click.echo(f"wrote {plot}", err=True)
    if as_json:
        _print_json(frontier_json(record, found, stage))
    elif as_csv:
        click.echo(_csv([flat(candidate) for candidate in found]), nl=False)
    else:
        click.echo(text.frontier_text(record, found, stage))


@main.command()
@click.argument("name")
@limit_options
@stage_option
@click.option("--strategy", default="accuracy", show_default=True, help=f"One of {', '.join(STRATEGIES)}.")
@click.option("--order", help="lexicographic: objectives in order, comma-separated.")
@click.option(
    "--tolerance", type=float, help="lexicographic: a difference, in the unit, that counts as equal."
)
@click.option("--weight", "weights", metavar="OBJECTIVE=VALUE", multiple=True, help="chebyshev: a weight.")
@click.option(
    "--measure",
    default=MOST_MEASURED,
    show_default=True,
    help="Candidates at most to measure now by a metric that is limited and was not measured; 0: none.",
)
@click.option("--no-verify", is_flag=True, help="Do not verify the candidate, where nobody has yet.")
@database_option
@json_option
def select(name: str, strategy: str, stage: str, database: str | None, as_json: bool, **options: Any) -> None:
    """Answer: which candidate to ship within a budget. Exit code 3 when none holds it."""
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
        answer = verified(result, answer)
    if as_json:
        _print_json(answer.to_json())
    elif answer.feasible and answer.candidate is not None:
        click.echo(text.candidate_text(record, answer.candidate))
    else:
        click.echo(infeasible_text(answer))
        if answer.nearest is not None:
            click.echo("\nnearest:\n" + text.candidate_text(record, answer.nearest))
    if answer.note:
        click.echo(f"note: {answer.note}", err=True)
    if answer.unmeasured:
        click.echo(f"note: {unmeasured_text(answer)}: --measure {2 * options['measure'] or 16}", err=True)
    if not answer.feasible:
        sys.exit(INFEASIBLE)


@main.command("export")
@click.argument("candidate", type=int)
@click.option("-o", "--output", required=True, metavar="FILE", help=f"Ends in {suffixes()}.")
@click.option("--target", help="Where the search's target is now, if it moved.")
@database_option
def export_command(candidate: int, output: str, target: str | None, database: str | None) -> None:
    """Write CANDIDATE (a number) to a file: packed for leanfront.load, ONNX, or a torch.export program."""
    require_format(Path(output))
    store = open_store(database)
    name = store.candidate(candidate).search
    found = SearchResult(store, name, resolve(target) if target else None).candidate(candidate)
    path = found.export(output)
    click.echo(f"wrote {path}, {text.size(path.stat().st_size)}", err=True)
    for note in notes(path):
        click.echo(note, err=True)


@main.command()
@click.option("--target", "targets", metavar="NAME=TARGET", multiple=True, help="A target of the operator's.")
@click.option("--targets", "targets_file", type=Path, metavar="FILE.toml", help="A file of such targets.")
@place_options
@click.option("--lease", default=LEASE_SECONDS, show_default=True, help="Seconds a job is claimed for.")
@click.option("--once", is_flag=True, help="End when the queue is empty.")
@database_option
def worker(
    targets: tuple[str, ...],
    targets_file: Path | None,
    lease: float,
    once: bool,
    database: str | None,
    **where: Any,
) -> None:
    """Take queued jobs and drive them, until stopped (Ctrl-C or SIGTERM)."""
    if not 1 <= lease <= 3600:
        raise UsageError(f"--lease takes 1 to 3600 seconds, not {lease:g}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    registry = Registry.of(targets, targets_file)
    runner = Runner(open_store(database), Place(registry=registry, lease=lease, **where))
    with stopped_by_signals(runner):
        runner.run(once=once)


main.add_command(serve)
main.add_command(verify)
main.add_command(recover)
main.add_command(audit_command)


@main.group()
def database() -> None:
    """Look after the database."""


@database.command()
@database_option
def upgrade(database: str | None) -> None:
    """Bring the database to this release's schema."""
    before, after = storage.upgrade(database_url(database))
    if before == after:
        click.echo(f"the database is at schema {after} already")
    else:
        click.echo(f"the database is at schema {after} now (was {before or 'empty'})")


@database.command("export-study")
@click.argument("name")
@click.option("--storage", required=True, metavar="URL", help="Of the Optuna storage: sqlite:///optuna.db.")
@click.option("--study-name", help="Of the new study; the search's name by default.")
@database_option
def export_study_command(name: str, storage: str, study_name: str | None, database: str | None) -> None:
    """Write a search into an Optuna storage, for optuna-dashboard."""
    study = export_study(open_store(database), name, storage, study_name)
    trials = len(study.get_trials(deepcopy=False))
    click.echo(f"wrote {trials} trials to the study '{study.study_name}' in {storage}")


@database.command()
@click.option(
    "--clean", is_flag=True, help="First remove what is left in the artifact folder that nothing needs."
)
@database_option
@json_option
def check(database: str | None, as_json: bool, clean: bool) -> None:
    """Check the schema, every stored frontier against brute force, and every file in the artifact folder."""
    url = database_url(database)
    if clean:
        removed = open_shelf(open_store(url)).clean()
        click.echo(f"removed {removed} that nothing needs from the artifact folder", err=True)
    report = storage.check(url, open_artifacts(storage.Database(url)))
    if as_json:
        _print_json(report.to_json())
    else:
        click.echo(text.check_text(report))
    if not report.ok:
        sys.exit(FAILED)


def _show(result: SearchResult, as_json: bool, database: str | None) -> None:
    record, found = result.record, result.frontier()
    if as_json:
        _print_json(frontier_json(record, found))
        return
    click.echo(text.frontier_text(record, found))
    if record.message:
        click.echo(record.message)
    click.echo(f"\nAsk it: {text.next_question(record, database)}")


@contextmanager
def _interruptible(name: Callable[[], str | None], url: str | None = None) -> Iterator[None]:
    """Long work; on Ctrl-C say how to go on with the search of that name."""
    try:
        yield
    except KeyboardInterrupt:
        hint, search = "Interrupted.", name()
        if search is not None and any(record.name == search for record in open_store(url).searches()):
            database = f" --database {shlex.quote(url)}" if url else ""
            hint += f" Go on with: leanfront resume {shlex.quote(search)}{database}"
        else:
            hint += " Nothing was stored yet: start it again."
        click.echo(f"\n{hint}", err=True)
        sys.exit(INTERRUPTED)


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


def _bits(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--bits takes whole numbers separated by commas, such as 2,4,8, not '{text}'"
        ) from None


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def _csv(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
