"""Settings of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field

from leanfront.core.search import Place
from leanfront.core.storage.jobs import LEASE_SECONDS
from leanfront.core.targets.registry import Registry
from leanfront.options import option


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(Place):
    """Settings of a worker: where it evaluates, what it may load, and how long it claims a job.

    Args:
        registry: targets registered by the operator.

    Raises:
        UsageError: a value is invalid or unavailable here.
    """

    registry: Registry = field(default_factory=Registry, kw_only=False)
    lease: float = option(
        LEASE_SECONDS, "Seconds for which a job is claimed.", least=1, most=3600, local=True
    )
