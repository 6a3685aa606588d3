"""Holding a job: its lease renewed in the background for as long as this process works on it."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from leanfront.core.storage import Jobs, Lease
from leanfront.core.storage.jobs import LEASE_SECONDS
from leanfront.errors import LeaseLostError, StorageError

BEATS = 5
"""Renewals in a lease's time: some may fail, or come late on a busy machine."""


class LeaseRenewal:
    """Renews a lease until it is left; says when the work must stop.

    Args:
        jobs: the queue that gave the lease.
        lease: to renew.
        seconds: that each renewal lasts.

    Attributes:
        cancelled: whether somebody asked the job to stop.
        lost: whether another process may hold the job by now.
    """

    def __init__(self, jobs: Jobs, lease: Lease, seconds: float = LEASE_SECONDS) -> None:
        self.cancelled = False
        self.lost = False
        self._jobs = jobs
        self._lease = lease
        self._seconds = seconds
        self._left = threading.Event()
        self._until = time.monotonic() + seconds
        self._thread = threading.Thread(target=self._beat, name=f"lease of job {lease.job}", daemon=True)

    @property
    def over(self) -> bool:
        """Whether to stop: asked to, or not the holder any more."""
        return self.cancelled or self.lost or time.monotonic() > self._until

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._left.wait(self._seconds / BEATS):
            begin = time.monotonic()
            try:
                self.cancelled = self._jobs.beat(self._lease, self._seconds) or self.cancelled
            except LeaseLostError:
                self.lost = True
                return
            except StorageError:
                # The database may be back before the lease is over; `over` says when it is.
                continue
            self._until = begin + self._seconds
