"""Renewal of a job's lease in the background while this process works on the job."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from leanfront.core.storage import Jobs, Lease
from leanfront.core.storage.jobs import LEASE_SECONDS
from leanfront.errors import LeaseLostError, StorageError

BEATS = 5
"""Renewals per lease time: some may fail, or come late on a busy machine."""


class LeaseRenewal:
    """Context manager that renews a lease and tells when the work must stop.

    Args:
        jobs: queue that gave the lease.
        lease: lease to renew.
        seconds: duration of each renewal.

    Attributes:
        cancelled: whether somebody asked the job to stop.
        lost: whether another process may hold the job now.
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
        """Whether to stop: the job was cancelled or the lease is lost."""
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
                # The database may come back before the lease expires; `over` tells when it has.
                continue
            self._until = begin + self._seconds
