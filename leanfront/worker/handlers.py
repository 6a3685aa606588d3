"""What a runner does, by the kind of job, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from leanfront.actions.audit import audit, choose, require_no_paths
from leanfront.actions.candidate_files import Verifier, broken_text
from leanfront.actions.measured_selection import MOST, measured_selection, unmeasured_text
from leanfront.actions.measurer import Measurer
from leanfront.actions.recovery import ShelvedFiles, recover_one, settings_of
from leanfront.actions.search_files import keep_weights, keeper
from leanfront.core import search as searching
from leanfront.core.audit import AuditOptions, StoppedError
from leanfront.core.objectives import Budget, Selection
from leanfront.core.search import Candidate, SearchOptions, SearchRecord
from leanfront.core.storage import FrontierStore, Job
from leanfront.core.storage.jobs import AUDIT, EXPORT, LEASE_SECONDS, MEASURE, RECOVER, SEARCH, VERIFY
from leanfront.core.targets import Target, resolve
from leanfront.core.targets.registry import Registry
from leanfront.errors import TargetError, UsageError
from leanfront.local.search_result import SearchResult, infeasible_text
from leanfront.locations import open_shelf
from leanfront.reports import text


@dataclass(frozen=True)
class Place:
    """Where and how a runner does its work.

    Args:
        registry: the operator's targets.
        workers: processes that evaluate.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        cluster: address of a Dask scheduler, in the place of processes.
        lease: seconds for which a job is claimed, and claimed again.

    Raises:
        UsageError: a value cannot be used here.
    """

    registry: Registry = field(default_factory=Registry)
    workers: int = 1
    device: str = "auto"
    cluster: str | None = None
    lease: float = LEASE_SECONDS

    def __post_init__(self) -> None:
        SearchOptions(workers=self.workers, device=self.device, cluster=self.cluster)


Handler = Callable[[Job, FrontierStore, Place, Callable[[], bool]], str | None]
"""Does a job with a store under its lease; asks the function often whether to stop. Returns what is to be said of
the job when it is done, or None when it was stopped before."""

HANDLERS: dict[str, Handler] = {}
"""What a runner can do, by the kind of job."""


def handler(kind: str) -> Callable[[Handler], Handler]:
    """Register what does the jobs of a kind."""

    def register(function: Handler) -> Handler:
        HANDLERS[kind] = function
        return function

    return register


@handler(SEARCH)
def drive_search(job: Job, store: FrontierStore, place: Place, stop: Callable[[], bool]) -> str | None:
    """Drive a search from wherever it is."""
    record = store.search(job.search)
    target = target_of(record, place.registry)
    shelf = open_shelf(store)
    done = searching.go_on(
        target,
        store,
        job.search,
        workers=place.workers,
        device=place.device,
        cluster=place.cluster,
        artifact=(record.prepared and record.artifact) or keep_weights(shelf, job.search, target),
        stop=stop,
        keep=keeper(shelf),
        files=ShelvedFiles(store, shelf),
    )
    return None if done.state == "running" else done.message


@handler(VERIFY)
def verify_candidate(job: Job, store: FrontierStore, place: Place, stop: Callable[[], bool]) -> str:
    """Verify the job's candidate."""
    candidate = store.candidate(_candidate(job))
    verification = _verifier(job, store, place).verify(candidate)
    if not verification.ok:
        return broken_text(verification)
    return f"all {len(verification.claims)} claims hold"


@handler(EXPORT)
def export_candidate(job: Job, store: FrontierStore, place: Place, stop: Callable[[], bool]) -> str:
    """Make a file of the job's candidate, and verify it where nobody has."""
    candidate = store.candidate(_candidate(job))
    made = _verifier(job, store, place).file(candidate, str(job.parameters["format"]))
    said = f"{made.bytes:,} bytes, SHA-256 {made.digest}"
    return (
        said if store.candidate(_candidate(job)).verified else f"{said}; not everything claimed of it holds"
    )


@handler(RECOVER)
def recover_candidate(job: Job, store: FrontierStore, place: Place, stop: Callable[[], bool]) -> str | None:
    """Recover the job's candidate; stopped, it leaves a checkpoint from which the next claim goes on."""
    result = _result(job, store, place)
    wanted = dict(job.parameters)
    minutes = wanted.pop("minutes", None)
    parent = store.candidate(_candidate(job))
    attempt = recover_one(
        result.recoverer(place.device), parent, settings_of(**wanted), minutes, progress=False, stop=stop
    )
    return None if attempt.ended == "stopped" else text.attempt_text(attempt)


@handler(AUDIT)
def audit_candidates(job: Job, store: FrontierStore, place: Place, stop: Callable[[], bool]) -> str | None:
    """Audit the job's candidate, those it names, or some of the frontier; stopped, the next claim goes on there."""
    wanted = dict(job.parameters)
    kinds, options = list(wanted["kinds"]), AuditOptions.from_json(wanted.get("options", {}))
    require_no_paths(options)
    ids = wanted.get("candidates", ()) if job.candidate is None else [job.candidate]
    chosen = choose(store, job.search, map(int, ids), options)
    result = _result(job, store, place)
    try:
        audit(result, store, chosen, kinds, options, device=place.device, workers=place.workers, stop=stop)
    except StoppedError:
        return None
    return _audited_text(kinds, chosen, options)


def _audited_text(kinds: Sequence[str], candidates: Sequence[Candidate], options: AuditOptions) -> str:
    of = [f"candidate {candidate.id}" for candidate in candidates]
    of += [f"levels of {level}" for level in options.levels]
    return f"audited ({', '.join(kinds)}): {', '.join(of)}"


@handler(MEASURE)
def measure_candidates(job: Job, store: FrontierStore, place: Place, stop: Callable[[], bool]) -> str | None:
    """Measure what could be a better answer to the job's query, and say what the answer is then."""
    wanted: dict[str, Any] = {"strategy": "accuracy", "stage": "after", "most": MOST, **job.parameters}
    budget = Budget(wanted.get("maximum", {}), wanted.get("minimum", {}))
    verifier = _verifier(job, store, place)
    measured: list[int] = []

    def ask() -> Selection[Candidate]:
        return store.select(job.search, budget, strategy=wanted["strategy"], stage=wanted["stage"])

    def told(candidate: int, metrics: tuple[str, ...]) -> None:
        if stop():
            raise StoppedError
        measured.append(candidate)

    try:
        answer = measured_selection(ask, store, lambda: Measurer(store, verifier), wanted["most"], told)
    except StoppedError:
        return None
    return _measured_text(measured, answer)


def _measured_text(measured: Sequence[int], answer: Selection[Candidate]) -> str:
    done = f"measured candidates {', '.join(map(str, measured))}" if measured else "nothing to measure"
    if answer.candidate is None:
        said = infeasible_text(answer)
    else:
        left = f"; {unmeasured_text(answer)}" if answer.unmeasured else ""
        said = f"candidate {answer.candidate.id} holds the budget{left}"
    return "; ".join(part for part in (done, said, answer.note) if part)


def _candidate(job: Job) -> int:
    if job.candidate is None:
        raise UsageError(f"a job of the kind '{job.kind}' is about a candidate, and this one names none")
    return job.candidate


def _result(job: Job, store: FrontierStore, place: Place) -> SearchResult:
    return SearchResult(store, job.search, target_of(store.search(job.search), place.registry))


def _verifier(job: Job, store: FrontierStore, place: Place) -> Verifier:
    return _result(job, store, place).verifier(place.device)


def target_of(record: SearchRecord, registry: Registry) -> Target:
    """The target of a stored search: the operator's of that name, or what its reference means here.

    Raises:
        TargetError: it was a Python object of another process, or cannot be loaded.
    """
    if record.registered is not None and record.registered in registry:
        return resolve(registry.reference(record.registered))
    if record.target.startswith("python:"):
        raise TargetError(
            f"search '{record.name}' was made on a Python object of another process: resume it there, with "
            "leanfront.resume(..., target=...)"
        )
    return resolve(record.target)
