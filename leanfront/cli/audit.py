"""``leanfront audit``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from leanfront.actions.audit_request import DEFAULT_KINDS, OF_IMAGES, choose, default_kinds
from leanfront.cli.exits import repeatable
from leanfront.cli.options import database_option, given, json_option, options_from
from leanfront.cli.output import print_json
from leanfront.core.audit import KINDS, AuditOptions
from leanfront.errors import UsageError
from leanfront.files import require_html
from leanfront.options import shown

if TYPE_CHECKING:
    from leanfront.core.storage import AuditRecord
    from leanfront.local.search_result import SearchResult


@click.command()
@click.argument("name")
@click.argument("candidates", metavar="[CANDIDATE...]", nargs=-1, type=int)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(tuple(KINDS)),
    help=f"Kind of audit; can be given several times.  [default: {', '.join(DEFAULT_KINDS)}]",
)
@options_from(AuditOptions)
@click.option("--target", metavar="TARGET", help="Where the search's target is now, if it moved.")
@click.option(
    "--workers", default=1, show_default=True, help="Number of processes that a population may use."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "-o",
    "--output",
    metavar="FILE.html",
    help="Write tables and figures as one self-contained HTML file.",
)
@click.option("--stored", is_flag=True, help="Show the latest stored audits without auditing.")
@database_option
@json_option
@repeatable("What was computed is kept")
def audit(
    name: str,
    candidates: tuple[int, ...],
    kinds: tuple[str, ...],
    target: str | None,
    workers: int,
    device: str,
    output: str | None,
    stored: bool,
    database: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show how the candidates of search NAME differ from the dense model beyond their loss of accuracy.

    Without CANDIDATEs (numbers) and --levels, members spread over the frontier are audited. The results are stored.
    Computed parts are kept, so that the same command continues an interrupted audit.
    """
    from leanfront.actions.audit import audit as run_audit
    from leanfront.actions.stored_search import StoredSearch
    from leanfront.core.search.interrupting import interruptible
    from leanfront.core.targets import resolve
    from leanfront.local.search_result import SearchResult
    from leanfront.locations import open_store
    from leanfront.reports.progress import staged

    names, given_kinds = (*shown(AuditOptions), "target", "workers", "device"), kinds
    (wanted,) = given({**options, "shift": _folder(options["shift"])}, AuditOptions)
    if output is not None:
        require_html(output, "report")
    if stored:
        _require_nothing_else(names)
        result = SearchResult(open_store(database), name)
        _tell(name, _stored(result, candidates, kinds), output, as_json)
        return
    if workers < 1:
        raise UsageError(f"--workers takes 1 or more, not {workers}")
    store = open_store(database)
    search = StoredSearch(store, name, resolve(target) if target else None)
    chosen = choose(store, name, dict.fromkeys(candidates), wanted)
    alone = all(KINDS[kind].alone for kind in kinds or DEFAULT_KINDS)
    if not (chosen or wanted.levels or alone):
        raise UsageError(f"search '{name}' has no candidate yet: audit it when it has one, or give --levels")
    kinds = kinds or default_kinds(search.target())
    if OF_IMAGES not in kinds and not given_kinds:
        click.echo(
            "robustness is left out: the target does not say how its inputs are made of pixels (Target(pixels=...))",
            err=True,
        )
    with interruptible() as asked, staged(True) as report:
        records = run_audit(
            search,
            chosen,
            kinds,
            wanted,
            device=device,
            workers=workers,
            report=report,
            stop=asked,
        )
    _tell(name, records, output, as_json)


def _stored(result: SearchResult, candidates: Sequence[int], kinds: Sequence[str]) -> list[AuditRecord]:
    """Return the stored audits of the search, or of some of its candidates."""
    each = [result.audited(result.candidate(one).id) for one in dict.fromkeys(candidates)]
    found = [record for own in each or [result.audited()] for record in own]
    wanted = [record for record in found if not kinds or record.kind in kinds]
    if not wanted:
        raise UsageError(f"search '{result.name}' has no such audit yet: leave out --stored to audit it")
    return wanted


def _require_nothing_else(names: Sequence[str]) -> None:
    context = click.get_current_context()
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        raise UsageError(f"--stored audits nothing, so --{given[0].replace('_', '-')} cannot be used with it")


def _tell(name: str, records: Sequence[AuditRecord], output: str | None, as_json: bool) -> None:
    """Write the report, and show the audits of the search or, if there are none, those of candidates."""
    from leanfront.reports.audit_report import report
    from leanfront.reports.audit_text import audit_text

    if output is not None:
        report(records, output)
    shown = [record for record in records if record.candidate is None] or records
    if as_json:
        print_json({"search": name, "audits": [record.to_json() for record in shown]})
    else:
        click.echo("\n\n".join(audit_text(record) for record in shown))
    if output is not None:
        click.echo(f"wrote {output}", err=True)


def _folder(shift: str | None) -> str | None:
    """Return the folder in ``--shift data=DIR``."""
    if shift is None:
        return None
    kind, _, where = shift.partition("=")
    if kind != "data" or not where:
        raise UsageError(f"--shift takes data=DIR (a folder or zip of <class>/<image>), not '{shift}'")
    return where
