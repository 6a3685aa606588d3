"""The runner: claims queued jobs from the database and runs them until it is stopped."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from leanfront.actions.lease_renewal import LeaseRenewal
from leanfront.core.storage import FrontierStore, Job, Lease, runner_name
from leanfront.errors import LeanfrontError, LeaseLostError, StorageError
from leanfront.version import __version__
from leanfront.worker.handlers import HANDLERS
from leanfront.worker.settings import WorkerSettings

POLL = 1.0
"""Seconds between two polls of an empty queue."""
LONGEST_PAUSE = 4.0
"""Longest pause in seconds after a job whose result could not be stored."""
LONGEST_WAIT = 15.0
"""Longest time in seconds between two attempts to reach the database."""

log = logging.getLogger("leanfront.worker.runner")


class Runner:
    """Runs jobs one after the other.

    Args:
        store: store of the jobs.
        settings: settings of the worker.
        name: name of the runner; host and process by default.
    """

    def __init__(self, store: FrontierStore, settings: WorkerSettings, name: str | None = None) -> None:
        self.name = name or runner_name()
        self._store = store
        self._settings = settings
        self._stopping = threading.Event()
        self._wait = POLL

    def stop(self) -> None:
        """Stop the running job, put it back into the queue, and end `run`."""
        self._stopping.set()

    def run(self, *, once: bool = False) -> int:
        """Claim and run jobs until stopped.

        Args:
            once: return when the queue is empty.

        Returns:
            Number of jobs claimed.
        """
        log.info("runner %s takes %s", self.name, ", ".join(HANDLERS))
        taken = 0
        with self._signs_of_life():
            while not self._stopping.is_set():
                try:
                    claimed = self._store.jobs.claim(self.name, tuple(HANDLERS), self._settings.lease)
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
        with LeaseRenewal(jobs, lease, self._settings.lease) as renewal:

            def over() -> bool:
                return renewal.over or self._stopping.is_set()

            try:
                said = HANDLERS[job.kind](job, self._store.under(lease), self._settings, over)
                if said is not None:
                    with suppress(LeaseLostError):
                        # A search ends its own job.
                        jobs.finish(lease, "done", said)
                elif renewal.cancelled:
                    jobs.finish(lease, "cancelled", "cancelled")
                elif not renewal.over:
                    jobs.give_back(lease)
            except StorageError as error:
                log.warning("job %d: %s", job.id, error)
                # If the database cannot be reached, the lease expires and another runner continues.
                with suppress(StorageError):
                    jobs.give_back(lease, str(error))
                # A restarting server takes a while, and every claim counts as an attempt.
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
        """Report to the database regularly that this runner is alive."""
        left = threading.Event()

        def tell() -> None:
            while True:
                with suppress(StorageError):
                    self._store.jobs.present(self.name, __version__, tuple(HANDLERS))
                if left.wait(self._settings.lease / 3):
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
    """Stop the runner on SIGTERM and Ctrl-C; a second signal ends the process at once."""

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
