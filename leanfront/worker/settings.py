"""Where and how a worker does its work."""

from __future__ import annotations

from dataclasses import dataclass, field

from leanfront.core.search.options import SearchOptions
from leanfront.core.storage.jobs import LEASE_SECONDS
from leanfront.core.targets.registry import Registry


@dataclass(frozen=True)
class WorkerSettings:
    """Where and how a worker does its work.

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
