"""Handlers of jobs: one function per kind of job that a runner can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from leanfront.actions.audit import audit
from leanfront.actions.audit_request import choose, require_no_paths
from leanfront.actions.driven_search import drive_search
from leanfront.actions.measured_selection import MOST_MEASURED, measured_selection
from leanfront.actions.measurer import Measurer
from leanfront.actions.recovery import recover_one, settings_of
from leanfront.actions.recovery_limit import RecoveryLimit
from leanfront.actions.stored_search import StoredSearch
from leanfront.actions.verifier import Verifier
from leanfront.core.audit import AuditOptions
from leanfront.core.objectives import Budget, Selection
from leanfront.core.search import Candidate, Run, SearchRecord
from leanfront.core.storage import FrontierStore, Job
from leanfront.core.storage.jobs import AUDIT, EXPORT, MEASURE, RECOVER, SEARCH, VERIFY
from leanfront.core.targets import Target, resolve
from leanfront.core.targets.registry import Registry
from leanfront.core.targets.repetition import resolve_twice
from leanfront.errors import StoppedError, TargetError, UsageError
from leanfront.reports.text import attempt_text, infeasible_text, unmeasured_text
from leanfront.worker.settings import WorkerSettings

Handler = Callable[[Job, FrontierStore, WorkerSettings, Callable[[], bool]], str | None]
"""Function of the job, a store under its lease, the worker's settings, and a function called often that returns
whether to stop. Returns the message of the finished job, or None if it was stopped before."""

HANDLERS: dict[str, Handler] = {}
"""Kind of job -> its handler."""


def handler(kind: str) -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of a kind of job."""

    def register(function: Handler) -> Handler:
        HANDLERS[kind] = function
        return function

    return register


@handler(SEARCH)
def drive(job: Job, store: FrontierStore, settings: WorkerSettings, stop: Callable[[], bool]) -> str | None:
    """Drive a search from its current state."""
    target = target_of(store.search(job.search), settings.registry)
    done = drive_search(target, store, job.search, Run(place=settings, stop=stop))
    return None if done.state == "running" else done.message


@handler(VERIFY)
def verify_candidate(
    job: Job, store: FrontierStore, settings: WorkerSettings, stop: Callable[[], bool]
) -> str:
    """Verify the job's candidate."""
    candidate = store.candidate(_candidate(job))
    verification = _verifier(job, store, settings).verify(candidate)
    if not verification.ok:
        return verification.broken_text
    return f"all {len(verification.claims)} claims hold"


@handler(EXPORT)
def export_candidate(
    job: Job, store: FrontierStore, settings: WorkerSettings, stop: Callable[[], bool]
) -> str:
    """Make a file of the job's candidate, and verify the candidate if it is not verified."""
    candidate = store.candidate(_candidate(job))
    made = _verifier(job, store, settings).file(candidate, str(job.parameters["format"]))
    said = f"{made.bytes:,} bytes, SHA-256 {made.digest}"
    return said if store.candidate(_candidate(job)).verified else f"{said}; some claims about it do not hold"


@handler(RECOVER)
def recover_candidate(
    job: Job, store: FrontierStore, settings: WorkerSettings, stop: Callable[[], bool]
) -> str | None:
    """Recover the job's candidate; if stopped, leave a checkpoint from which the next claim continues."""
    wanted = dict(job.parameters)
    limit = RecoveryLimit(minutes=wanted.pop("minutes", None))
    parent = store.candidate(_candidate(job))
    attempt = recover_one(
        _stored(job, store, settings).recoverer(settings.device),
        parent,
        settings_of(wanted),
        limit.minutes,
        stop=stop,
    )
    return None if attempt.ended == "stopped" else attempt_text(attempt)


@handler(AUDIT)
def audit_candidates(
    job: Job, store: FrontierStore, settings: WorkerSettings, stop: Callable[[], bool]
) -> str | None:
    """Audit the job's candidates, or some of the frontier; if stopped, the next claim continues from there."""
    wanted = dict(job.parameters)
    kinds, options = list(wanted["kinds"]), AuditOptions.read(wanted.get("options", {}))
    require_no_paths(options)
    ids = wanted.get("candidates", ()) if job.candidate is None else [job.candidate]
    chosen = choose(store, job.search, map(int, ids), options)
    stored = _stored(job, store, settings)
    try:
        audit(stored, chosen, kinds, options, device=settings.device, workers=settings.workers, stop=stop)
    except StoppedError:
        return None
    return _audited_text(kinds, chosen, options)


def _audited_text(kinds: Sequence[str], candidates: Sequence[Candidate], options: AuditOptions) -> str:
    of = [f"candidate {candidate.id}" for candidate in candidates]
    of += [f"levels of {level}" for level in options.levels]
    return f"audited ({', '.join(kinds)}): {', '.join(of)}"


@handler(MEASURE)
def measure_candidates(
    job: Job, store: FrontierStore, settings: WorkerSettings, stop: Callable[[], bool]
) -> str | None:
    """Measure candidates that could be a better answer to the job's query; return the new answer."""
    wanted: dict[str, Any] = {
        "strategy": "accuracy",
        "stage": "after",
        "most": MOST_MEASURED,
        **job.parameters,
    }
    budget = Budget(wanted.get("maximum", {}), wanted.get("minimum", {}))
    measurer = Measurer(store, _stored(job, store, settings).files(settings.device))
    measured: list[int] = []

    def ask() -> Selection[Candidate]:
        return store.select(job.search, budget, strategy=wanted["strategy"], stage=wanted["stage"])

    def told(candidate: int, metrics: tuple[str, ...]) -> None:
        if stop():
            raise StoppedError
        measured.append(candidate)

    try:
        answer = measured_selection(ask, store, lambda: measurer, wanted["most"], told)
    except StoppedError:
        return None
    return _measured_text(measured, answer)


def _measured_text(measured: Sequence[int], answer: Selection[Candidate]) -> str:
    done = f"measured candidates {', '.join(map(str, measured))}" if measured else "nothing to measure"
    if answer.candidate is None:
        said = infeasible_text(answer)
    else:
        left = f"; {unmeasured_text(answer)}" if answer.unmeasured else ""
        said = f"candidate {answer.candidate.id} is within the budget{left}"
    return "; ".join(part for part in (done, said, answer.note) if part)


def _candidate(job: Job) -> int:
    if job.candidate is None:
        raise UsageError(f"a job of the kind '{job.kind}' needs a candidate, and this one names none")
    return job.candidate


def _stored(job: Job, store: FrontierStore, settings: WorkerSettings) -> StoredSearch:
    return StoredSearch(store, job.search, target_of(store.search(job.search), settings.registry))


def _verifier(job: Job, store: FrontierStore, settings: WorkerSettings) -> Verifier:
    return _stored(job, store, settings).verifier(settings.device)


def target_of(record: SearchRecord, registry: Registry) -> Target:
    """Return the target of a stored search: the registered one of that name, or else the stored reference's.

    Raises:
        TargetError: the target was a Python object of another process, or cannot be loaded.
    """
    # A prepared search knows what its target was.
    load = resolve if record.prepared else resolve_twice
    if record.registered is not None and record.registered in registry:
        return load(registry.reference(record.registered))
    if record.target.startswith("python:"):
        raise TargetError(
            f"search '{record.name}' was made on a Python object of another process: resume it there, with "
            "leanfront.resume(..., target=...)"
        )
    return load(record.target)
