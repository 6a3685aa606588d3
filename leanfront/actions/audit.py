"""Auditing a search's candidates, and storing what is found."""

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
"""Told of a stage, how much of it is done, and of how much."""


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
    """Audit candidates of a search, store what is found, and measure the metrics that belong to it.

    Args:
        stored: the search; its store is under the lease of whoever audits.
        candidates: complete ones of it.
        kinds: names in `leanfront.core.audit.KINDS`.
        options: how.
        device: where models run: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: processes that a population may use.
        report: told of progress.
        stop: asked now and then.

    Raises:
        StoppedError: it was asked to stop; the next audit goes on there.
        UsageError: these candidates cannot be audited so.
        TargetError: the target cannot be made again, is another one by now, or lacks what an audit needs.
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
        # As they are stored, with their time.
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
