"""Options of a search: how it searches (stored with it), and where it runs (the runner's)."""

from __future__ import annotations

from dataclasses import dataclass

from leanfront.core.compressors import Recovery
from leanfront.core.compressors.recovery_settings import LARGEST_SETTING
from leanfront.core.cost_models import LatencyOptions
from leanfront.core.objectives import METRICS, known_objectives, resolve
from leanfront.core.objectives.metrics import metrics_of
from leanfront.core.objectives.objective import FEWEST_OBJECTIVES, MOST_OBJECTIVES, lookup
from leanfront.core.search.samplers import SAMPLERS
from leanfront.core.search.space_options import SpaceOptions
from leanfront.errors import UsageError
from leanfront.options import Options, option, same

MOST_RECOVERED = 8
"""Candidates that are recovered when no time is given."""
LONGEST_MINUTES = 100_000
DROP = 0.02
"""Accuracy that a choice may cost on its layer alone before it is left out of a search space."""
MOST_TRIALS = 10_000_000
_MINUTES = {"above": 0, "most": LONGEST_MINUTES}


@dataclass(frozen=True, kw_only=True)
class SearchOptions(SpaceOptions):
    """Options of a search. They are stored with it.

    Raises:
        UsageError: a value cannot be used.
    """

    trials: int = option(200, "Number of configurations to try.", least=1, most=MOST_TRIALS, examples=(200,))
    minutes: float | None = option(
        None,
        "Wall-clock limit, set-up and test split included; the search ends with the best so far.",
        title="Minutes at most",
        **_MINUTES,
    )
    objectives: tuple[str, ...] = option(
        ("accuracy", "memory", "macs"),
        "Costs and metrics to optimise.",
        known=known_objectives,
        canonical=lambda name: lookup(name).name,
        fewest=FEWEST_OBJECTIVES,
        longest=MOST_OBJECTIVES,
    )
    metrics: tuple[str, ...] = option(
        (),
        "Further metrics to measure on every fully evaluated candidate; the objectives, and metrics that cost no "
        "evaluation of their own, are always measured.",
        known=METRICS,
        title="Further metrics",
        examples=(["mce"],),
    )
    sampler: str = option("auto", "Sampler that proposes configurations.", known=SAMPLERS)
    samples: int = option(
        512, "Calibration samples for batch norm and activation ranges.", least=2, most=1_000_000
    )
    population: int | None = option(
        None, "Population of genetic samplers; chosen from `trials` when not given.", least=2, most=100_000
    )
    false_elimination: float = option(
        0.05,
        "Largest share of candidates better than the frontier point they race against that may be stopped early; 0 "
        "evaluates every candidate on the whole validation split.",
        least=0,
        below=1,
    )
    latency_backend: str | None = same(
        LatencyOptions,
        "backend",
        default=None,
        help="Runtime in which latency is measured, on the machine that searches. Given any latency option, or "
        "latency as an objective, every candidate has a predicted latency and every frontier member a measured one; "
        "onnxruntime when not given.",
    )
    latency_threads: int | None = same(
        LatencyOptions,
        "threads",
        default=None,
        help="Threads of one run that measures latency; 1 when not given.",
    )
    latency_batch: int | None = same(
        LatencyOptions,
        "batch",
        default=None,
        help="Inputs of one run that measures latency; 1 when not given.",
    )
    recover: int | None = same(
        Recovery,
        "epochs",
        default=None,
        help="Epochs of training for the most promising members of the frontier when the trials are done.",
        title="Epochs of recovery",
        metavar="EPOCHS",
    )
    recover_minutes: float | None = option(
        None,
        f"Time for `recover`, on top of `minutes`; {MOST_RECOVERED} candidates are trained when not given.",
        title="Minutes of recovery",
        **_MINUTES,
    )
    limits: str | None = option(
        None,
        "Search whose audit of limits bounds the space: what it shows to be too much for a layer is left out.",
        fewest=1,
        longest=1000,
        metavar="NAME|FILE.json",
    )
    limits_drop: float = option(
        DROP,
        "Largest loss of accuracy that `limits` allows for one layer alone.",
        least=0,
        below=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        resolve(self.objectives)
        if self.recover is None and self.recover_minutes is not None:
            raise UsageError("recover_minutes is given, but not recover: say how many epochs")

    @property
    def latency(self) -> LatencyOptions | None:
        """Where and how latency is measured, when any option of it is given."""
        said = {name: getattr(self, f"latency_{name}") for name in ("backend", "threads", "batch")}
        given = {name: value for name, value in said.items() if value is not None}
        return LatencyOptions(**given) if given else None

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the metrics that candidates are measured by."""
        return metrics_of((*self.metrics, *(each.measurement for each in resolve(self.objectives))))

    @property
    def recovery(self) -> Recovery | None:
        """Settings of the training of the frontier's best, if they are trained."""
        if self.recover is None:
            return None
        return Recovery(epochs=self.recover, seed=self.seed % LARGEST_SETTING)

    @property
    def generation(self) -> int:
        """Population that leaves a search of `trials` trials several generations."""
        return self.population if self.population is not None else max(10, min(50, self.trials // 6))


@dataclass(frozen=True, kw_only=True)
class Place(Options):
    """Options of where evaluations run. They are the runner's, and not stored.

    Raises:
        UsageError: a value cannot be used, or the device is not one of this machine's.
    """

    workers: int = option(
        1,
        "Processes that evaluate; 1 evaluates in this process. A script that uses more must be guarded by "
        '`if __name__ == "__main__"`.',
        least=1,
        most=1024,
        local=True,
    )
    cluster: str | None = option(
        None,
        "Address of a Dask scheduler whose workers evaluate instead.",
        metavar="tcp://HOST:PORT",
        local=True,
    )
    device: str = option("auto", "Device: auto, cpu, cuda or cuda:N.", local=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        # These always exist. To look for others loads torch, which a command that only queues a search does not need.
        if self.device not in ("auto", "cpu"):
            resolve_device(self.device)


def resolve_device(device: str) -> str:
    """The torch device that a device option means.

    Raises:
        UsageError: not a device, or not one of this machine's.
    """
    # Options are also read where nothing is computed.
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
