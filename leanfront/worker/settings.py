"""Settings of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field

from leanfront.core.search.options import SearchOptions
from leanfront.core.storage.jobs import LEASE_SECONDS
from leanfront.core.targets.registry import Registry


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of a worker.

    Args:
        registry: targets registered by the operator.
        workers: number of processes that evaluate.
        device: device of the models: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        cluster: address of a Dask scheduler to use instead of processes.
        lease: duration of a job's lease in seconds.

    Raises:
        UsageError: a value is invalid or unavailable here.
    """

    registry: Registry = field(default_factory=Registry)
    workers: int = 1
    device: str = "auto"
    cluster: str | None = None
    lease: float = LEASE_SECONDS

    def __post_init__(self) -> None:
        SearchOptions(workers=self.workers, device=self.device, cluster=self.cluster)
