"""Audit of a search's candidates, with storage of the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leanfront.actions.audit_request import require_auditable
from leanfront.actions.measurer import Measurer
from leanfront.actions.stored_search import StoredSearch
from leanfront.core.audit import AuditOptions, Auditor, Version, kinds_of, of_candidate, run
from leanfront.core.search import Candidate
from leanfront.core.storage import AuditRecord
from leanfront.errors import StoppedError
from leanfront.version import __version__

Report = Callable[[str, int, int], None]
"""Called with a stage, the number of steps done, and the total number."""


def audit(
    stored: StoredSearch,
    candidates: Sequence[Candidate],
    kinds: Sequence[str],
    options: AuditOptions,
    *,
    device: str = "auto",
    workers: int = 1,
    report: Report = lambda what, done, of: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[AuditRecord]:
    """Audit candidates of a search, store the audits, and measure the metrics that belong to them.

    Args:
        stored: the search; its store is bound to the caller's lease.
        candidates: complete candidates of the search.
        kinds: names in `leanfront.core.audit.KINDS`.
        options: options of the audit.
        device: device of the models: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: number of processes that a population may use.
        report: called with the progress.
        stop: called now and then; the audit stops when it returns true.

    Raises:
        StoppedError: `stop` returned true; the next audit continues from there.
        UsageError: the candidates cannot be audited with these options.
        TargetError: the target cannot be loaded, differs from the search's, or lacks what an audit needs.
    """
    wanted = kinds_of(kinds)
    require_auditable(candidates, stored.name)
    files = stored.files(device)
    versions: list[Version] = []
    for candidate in candidates:
        kept = files.kept(candidate)
        versions.append(of_candidate(candidate, None if kept is None else kept[0]))
    evaluator = files.evaluator
    auditor = Auditor(
        stored.target(),
        evaluator.compressor.structure,
        versions,
        options,
        samples=stored.samples,
        device=str(evaluator.device),
        workers=workers,
        report=report,
        stop=stop,
    )
    found: list[AuditRecord] = []
    for records in run(auditor, wanted, stored.name, __version__):
        stored.store.add_audits(records)
        # Read back with the time that the store set.
        found += [stored.store.audit(each.search, each.kind, each.candidate) for each in records]
    metrics = [name for kind in wanted for name in kind.metrics]
    measurer = Measurer(stored.store, files)
    for number, candidate in enumerate(candidates):
        report("metrics", number, len(candidates))
        if stop():
            raise StoppedError
        assert candidate.id is not None
        measurer.measure(stored.store.candidate(candidate.id), metrics)
    return found
