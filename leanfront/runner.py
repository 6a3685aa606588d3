"""A runner: takes queued jobs from the database and drives them, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

import search as searching
from leanfront import text
from leanfront.api import SearchResult
from leanfront.database import open_shelf
from leanfront.holding import Holding
from leanfront.keeping import keep_weights, keeper
from leanfront.recovering import ShelvedFiles, recover_one, settings_of
from leanfront.registry import Registry
from leanfront.verifying import Verifier, broken_text
from leanfront.version import __version__
from search import SearchOptions, SearchRecord
from storage import FrontierStore, Job, Lease, runner_name
from storage.jobs import EXPORT, LEASE_SECONDS, RECOVER, SEARCH, VERIFY
from targets import Target, resolve
from targets.errors import LeanfrontError, LeaseLostError, StorageError, TargetError, UsageError

POLL = 1.0
"""Seconds between two looks at an empty queue."""
LONGEST_PAUSE = 4.0
"""Seconds after a job that could not be stored before the next one is taken."""
LONGEST_WAIT = 15.0
"""Seconds between two looks at a database that does not answer."""

log = logging.getLogger("leanfront.runner")


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
    result = SearchResult(store, job.search, target_of(store.search(job.search), place.registry))
    wanted = dict(job.parameters)
    minutes = wanted.pop("minutes", None)
    parent = store.candidate(_candidate(job))
    attempt = recover_one(
        result.recoverer(place.device), parent, settings_of(**wanted), minutes, progress=False, stop=stop
    )
    return None if attempt.ended == "stopped" else text.attempt_text(attempt)


def _candidate(job: Job) -> int:
    if job.candidate is None:
        raise UsageError(f"a job of the kind '{job.kind}' is about a candidate, and this one names none")
    return job.candidate


def _verifier(job: Job, store: FrontierStore, place: Place) -> Verifier:
    record = store.search(job.search)
    result = SearchResult(store, job.search, target_of(record, place.registry))
    return result.verifier(place.device)


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


class Runner:
    """Takes jobs one after the other.

    Args:
        store: the database.
        place: where and how to work.
        name: of the runner; host and process by default.
    """

    def __init__(self, store: FrontierStore, place: Place, name: str | None = None) -> None:
        self.name = name or runner_name()
        self._store = store
        self._place = place
        self._stopping = threading.Event()
        self._wait = POLL

    def stop(self) -> None:
        """Finish what runs, give the job back, and end `run`."""
        self._stopping.set()

    def run(self, *, once: bool = False) -> int:
        """Take jobs until told to stop.

        Args:
            once: end when the queue is empty.

        Returns:
            Number of jobs taken.
        """
        log.info("runner %s takes %s", self.name, ", ".join(HANDLERS))
        taken = 0
        with self._signs_of_life():
            while not self._stopping.is_set():
                try:
                    claimed = self._store.jobs.claim(self.name, tuple(HANDLERS), self._place.lease)
                    self._wait = POLL
                except StorageError as error:
                    log.warning("%s; trying again in %.0f s", error, self._wait)
                    self._stopping.wait(self._wait)
                    self._wait = min(2 * self._wait, LONGEST_WAIT)
                    continue
                if claimed is not None:
                    taken += 1
                    self._do(*claimed)
                elif once:
                    break
                else:
                    self._stopping.wait(POLL)
        log.info("runner %s ends after %d jobs", self.name, taken)
        return taken

    def _do(self, job: Job, lease: Lease) -> None:
        log.info("job %d: %s %s (attempt %d)", job.id, job.kind, job.search, job.attempts)
        begin = time.monotonic()
        jobs = self._store.jobs
        with Holding(jobs, lease, self._place.lease) as holding:

            def over() -> bool:
                return holding.over or self._stopping.is_set()

            try:
                said = HANDLERS[job.kind](job, self._store.under(lease), self._place, over)
                if said is not None:
                    with suppress(LeaseLostError):
                        # A search has ended its job by itself.
                        jobs.finish(lease, "done", said)
                elif holding.cancelled:
                    jobs.finish(lease, "cancelled", "cancelled")
                elif not holding.over:
                    jobs.give_back(lease)
            except StorageError as error:
                log.warning("job %d: %s", job.id, error)
                # Where the database cannot be reached the lease runs out, and whoever reaches it goes on.
                with suppress(StorageError):
                    jobs.give_back(lease, str(error))
                # A server that restarts takes a while; every claim is an attempt.
                self._stopping.wait(min(POLL * 2 ** (job.attempts - 1), LONGEST_PAUSE))
            except LeanfrontError as error:
                self._fail(lease, str(error))
            except Exception as error:
                log.exception("job %d failed", job.id)
                self._fail(lease, f"{type(error).__name__}: {error}")
        log.info("job %d: left after %.1f s", job.id, time.monotonic() - begin)

    def _fail(self, lease: Lease, reason: str) -> None:
        log.warning("job %d failed: %s", lease.job, reason)
        with suppress(StorageError):
            self._store.jobs.finish(lease, "failed", reason)

    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """Tell the database now and then that this runner is there."""
        left = threading.Event()

        def tell() -> None:
            while True:
                with suppress(StorageError):
                    self._store.jobs.present(self.name, __version__, tuple(HANDLERS))
                if left.wait(self._place.lease / 3):
                    return

        thread = threading.Thread(target=tell, name="signs of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            left.set()
            thread.join()
            with suppress(StorageError):
                self._store.jobs.leave(self.name)


@contextmanager
def stopped_by_signals(runner: Runner) -> Iterator[None]:
    """SIGTERM and Ctrl-C stop the runner; a second one ends the process at once."""

    def heard(number: int, frame: FrameType | None) -> None:
        log.info("%s: finishing what runs", signal.Signals(number).name)
        runner.stop()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
