"""Auditing a search's candidates: which ones, with what, and where it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from leanfront.actions.measurer import Measurer
from leanfront.core.audit import (
    KINDS,
    PATHS,
    AuditOptions,
    Auditor,
    Version,
    kinds_of,
    of_candidate,
    run,
)
from leanfront.core.search import Candidate
from leanfront.core.storage import AuditRecord, FrontierStore
from leanfront.core.targets import Target
from leanfront.errors import StoppedError, UsageError
from leanfront.version import __version__

if TYPE_CHECKING:
    from leanfront.local.search_result import SearchResult

MOST_AUDITED = 8
"""Members of a frontier that are audited where nobody says which."""
Report = Callable[[str, int, int], None]
DEFAULT_KINDS = ("classes", "exemplars", "calibration", "robustness")
OF_IMAGES = "robustness"
"""The one of them that needs a target whose inputs are made of pixels."""


def default_kinds(target: Target) -> tuple[str, ...]:
    """What is audited where nobody says: all of `DEFAULT_KINDS` that the target allows."""
    return tuple(
        kind
        for kind in DEFAULT_KINDS
        if all(getattr(target, need) is not None for need in KINDS[kind].needs)
    )


def spread(frontier: Sequence[Candidate], most: int = MOST_AUDITED) -> list[Candidate]:
    """Members spread evenly over a frontier by accuracy, the most and the least accurate among them."""
    ordered = sorted(frontier, key=lambda each: -(each.accuracy or 0.0))
    if len(ordered) <= most:
        return ordered
    places = {round(place * (len(ordered) - 1) / (most - 1)) for place in range(most)}
    return [ordered[place] for place in sorted(places)]


def choose(store: FrontierStore, name: str, ids: Iterable[int], options: AuditOptions) -> list[Candidate]:
    """The candidates that an audit is about: those named, or, where no levels are either, some of the frontier."""
    named = [store.candidate(each) for each in ids]
    return named if named or options.levels else spread(store.frontier(name))


def require_auditable(candidates: Sequence[Candidate], name: str) -> None:
    """Refuse candidates that are another search's, or that nothing is known of.

    Raises:
        UsageError: naming the candidate.
    """
    for candidate in candidates:
        if candidate.search != name:
            raise UsageError(
                f"candidate {candidate.id} is of search '{candidate.search}', not of '{name}': audit the candidates "
                "of one search at a time"
            )
        if candidate.state != "complete":
            raise UsageError(f"candidate {candidate.id} is {candidate.state}: only complete ones are audited")


def audit(
    result: SearchResult,
    store: FrontierStore,
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
        result: the search.
        store: where it is, under the lease of whoever audits.
        candidates: complete ones of it.
        kinds: names in `audit.KINDS`.
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
    require_auditable(candidates, result.name)
    verifier = result.verifier(device)
    versions: list[Version] = []
    for candidate in candidates:
        kept = verifier.kept(candidate)
        versions.append(of_candidate(candidate, None if kept is None else kept[0]))
    evaluator = verifier.evaluator
    auditor = Auditor(
        result.target(),
        evaluator.compressor.structure,
        versions,
        options,
        samples=result.samples,
        device=str(evaluator.device),
        workers=workers,
        report=report,
        stop=stop,
    )
    found: list[AuditRecord] = []
    for records in run(auditor, wanted, result.name, __version__):
        store.add_audits(records)
        # As they are stored, with their time.
        found += [store.audit(each.search, each.kind, each.candidate) for each in records]
    metrics = [name for kind in wanted for name in kind.metrics]
    measurer = Measurer(store, verifier)
    for number, candidate in enumerate(candidates):
        report("metrics", number, len(candidates))
        if stop():
            raise StoppedError
        assert candidate.id is not None
        measurer.measure(store.candidate(candidate.id), metrics)
    return found


def require_no_paths(options: AuditOptions) -> None:
    """Refuse options that name files: over the network nobody may.

    Raises:
        UsageError: naming the option.
    """
    named = [path for path in PATHS if getattr(options, path) is not None]
    if named:
        raise UsageError(f"'{named[0]}' names files: only who can type commands may give it")
