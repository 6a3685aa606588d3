"""How to search: what a user may say, and what a queued search stores of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from leanfront.core.compressors import Recovery
from leanfront.core.compressors.recovery_settings import LARGEST_SETTING
from leanfront.core.cost_models import LatencyOptions
from leanfront.core.objectives import resolve
from leanfront.core.objectives.metrics import metrics_of, require_metrics
from leanfront.core.search.racing import FALSE_ELIMINATION
from leanfront.core.search.samplers import check_sampler
from leanfront.core.search.space_options import SpaceOptions
from leanfront.errors import UsageError

SETTINGS_VERSION = 1
MOST_RECOVERED = 8
"""Candidates that are recovered where no time is given."""


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Args:
        trials: stored trials to reach.
        minutes: wall-clock limit, set-up and test split included; None for none.
        objectives: names, in order.
        space: what may be chosen.
        sampler: by name.
        seed: of everything random.
        workers: processes; 1 evaluates in this one.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        cluster: address of a Dask scheduler whose workers evaluate, in the place of processes of this machine.
        samples: calibration samples for batch norm and activation ranges.
        population: of genetic samplers; chosen from `trials` when None.
        false_elimination: largest share of candidates better than the frontier point they race against that
            may be stopped early; 0 evaluates every candidate on the whole validation split.
        latency: where and how latency is measured. It is where it is an objective, or where this is given.
        recover: epochs that the frontier's best are trained for when the trials are done; None for no training.
        recover_minutes: that this may take, on top of `minutes`; without, the `MOST_RECOVERED` best are trained.
        metrics: names of metrics that every candidate which is evaluated to its end is measured by, beside those
            that cost nothing and the objectives.

    Raises:
        UsageError: a value cannot be used.
    """

    trials: int = 200
    minutes: float | None = None
    objectives: tuple[str, ...] = ("accuracy", "memory", "macs")
    space: SpaceOptions = field(default_factory=SpaceOptions)
    sampler: str = "auto"
    seed: int = 0
    workers: int = 1
    device: str = "auto"
    cluster: str | None = None
    samples: int = 512
    population: int | None = None
    false_elimination: float = FALSE_ELIMINATION
    latency: LatencyOptions | None = None
    recover: int | None = None
    recover_minutes: float | None = None
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"trials must be at least 1, not {self.trials}")
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"minutes must be positive, not {self.minutes}")
        if self.workers < 1:
            raise UsageError(f"workers must be at least 1, not {self.workers}")
        if self.samples < 2:
            raise UsageError(f"calibration samples must be at least 2, not {self.samples}")
        if not 0 <= self.false_elimination < 1:
            raise UsageError(
                f"false elimination must be at least 0 and less than 1, not {self.false_elimination}"
            )
        if self.recover is not None and not 1 <= self.recover < LARGEST_SETTING:
            raise UsageError(f"epochs of recovery must be at least 1, not {self.recover}")
        if self.recover is None and self.recover_minutes is not None:
            raise UsageError("minutes of recovery are given, but not its epochs: say how many (recover)")
        if self.recover_minutes is not None and not 0 < self.recover_minutes < math.inf:
            raise UsageError(f"minutes of recovery must be positive, not {self.recover_minutes}")
        require_metrics(self.metrics)
        check_sampler(self.sampler)
        resolve(self.objectives)
        # These are always there: to look for others takes torch, which whoever only queues a search does without.
        if self.device not in ("auto", "cpu"):
            resolve_device(self.device)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the metrics that candidates are measured by."""
        return metrics_of((*self.metrics, *(each.measurement for each in resolve(self.objectives))))

    @property
    def recovery(self) -> Recovery | None:
        """How the frontier's best are trained, if they are."""
        return (
            None if self.recover is None else Recovery(epochs=self.recover, seed=self.seed % LARGEST_SETTING)
        )

    @property
    def generation(self) -> int:
        """A population that leaves a search of `trials` trials several generations."""
        return self.population if self.population is not None else max(10, min(50, self.trials // 6))

    def to_json(self) -> dict[str, Any]:
        """What is the search's own, JSON-ready; where it runs (workers, device, cluster) is the runner's."""
        return {
            "trials": self.trials,
            "minutes": self.minutes,
            "objectives": list(self.objectives),
            "space": self.space.to_json(),
            "sampler": self.sampler,
            "seed": self.seed,
            "samples": self.samples,
            "population": self.population,
            "false_elimination": self.false_elimination,
            "latency": None if self.latency is None else self.latency.to_json(),
            "recover": self.recover,
            "recover_minutes": self.recover_minutes,
            "metrics": list(self.metrics),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], **where: Any) -> SearchOptions:
        """Read what `to_json` wrote.

        Args:
            where: workers, device and cluster.
        """
        own = {
            **data,
            "objectives": tuple(data["objectives"]),
            "space": SpaceOptions.from_json(data["space"]),
            "metrics": tuple(data.get("metrics", ())),
        }
        if own.get("latency") is not None:
            own["latency"] = LatencyOptions.from_json(own["latency"])
        return cls(**own, **where)


def resolve_device(device: str) -> str:
    """The torch device that a device option means.

    Raises:
        UsageError: not a device, or not one of this machine's.
    """
    # Options are read where nothing is computed, too.
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        parsed = torch.device(device)
    except RuntimeError:
        raise UsageError(f"unknown device '{device}'; use auto, cpu, cuda or cuda:N") from None
    if parsed.type == "cuda":
        count = torch.cuda.device_count()
        if (parsed.index or 0) >= count:
            raise UsageError(f"device '{device}' is not here: this machine has {count} CUDA devices")
    return device
