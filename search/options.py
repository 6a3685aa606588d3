"""Options of a search: how it searches, stored with it, and where it runs, chosen by the runner."""

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
"""Number of candidates that are recovered if no time is given."""
LONGEST_MINUTES = 100_000
DROP = 0.02
"""Largest loss of accuracy that a choice may cause on its layer alone to stay in a search space."""
MOST_TRIALS = 10_000_000
_MINUTES = {"above": 0, "most": LONGEST_MINUTES}


@dataclass(frozen=True, kw_only=True)
class SearchOptions(SpaceOptions):
    """Options of a search, stored with it.

    Raises:
        UsageError: a value is invalid.
    """

    trials: int = option(200, "Number of configurations to try.", least=1, most=MOST_TRIALS, examples=(200,))
    minutes: float | None = option(
        None,
        "Wall-clock limit, including set-up and test split; the search ends with the best so far.",
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
        "Extra metrics to measure on every fully evaluated candidate; the objectives, and metrics that need no "
        "further evaluation, are always measured.",
        known=METRICS,
        title="Further metrics",
        examples=(["mce"],),
    )
    sampler: str = option("auto", "Sampler that proposes configurations.", known=SAMPLERS)
    samples: int = option(
        512, "Calibration samples for batch norm and activation ranges.", least=2, most=1_000_000
    )
    population: int | None = option(
        None, "Population of genetic samplers; by default derived from `trials`.", least=2, most=100_000
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
        help="Runtime in which latency is measured on the searching machine; by default onnxruntime. With any "
        "latency option or the objective latency, every candidate gets a predicted latency and every frontier "
        "member a measured one.",
    )
    latency_threads: int | None = same(
        LatencyOptions,
        "threads",
        default=None,
        help="Number of threads with which latency is measured; by default 1.",
    )
    latency_batch: int | None = same(
        LatencyOptions,
        "batch",
        default=None,
        help="Number of inputs per run with which latency is measured; by default 1.",
    )
    recover: int | None = same(
        Recovery,
        "epochs",
        default=None,
        help="Epochs for which the most promising frontier members are trained after the trials.",
        title="Epochs of recovery",
        metavar="EPOCHS",
    )
    recover_minutes: float | None = option(
        None,
        f"Time limit of `recover`, on top of `minutes`; without it, {MOST_RECOVERED} candidates are trained.",
        title="Minutes of recovery",
        **_MINUTES,
    )
    limits: str | None = option(
        None,
        "Search whose audit of limits bounds the space: choices that are too much for a layer are left out.",
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

    anyway: bool = option(
        False, "Search even if next to nothing of the model can be compressed.", title="Search anyway"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        resolve(self.objectives)
        if self.recover is None and self.recover_minutes is not None:
            raise UsageError("recover_minutes is given, but not recover: say how many epochs")

    @property
    def latency(self) -> LatencyOptions | None:
        """Options of the latency measurement, if any of them is given."""
        said = {name: getattr(self, f"latency_{name}") for name in ("backend", "threads", "batch")}
        given = {name: value for name, value in said.items() if value is not None}
        return LatencyOptions(**given) if given else None

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the metrics measured on candidates."""
        return metrics_of((*self.metrics, *(each.measurement for each in resolve(self.objectives))))

    @property
    def recovery(self) -> Recovery | None:
        """Settings with which the most promising frontier members are trained, if they are."""
        if self.recover is None:
            return None
        return Recovery(epochs=self.recover, seed=self.seed % LARGEST_SETTING)

    @property
    def generation(self) -> int:
        """Population of genetic samplers; the default allows several generations within `trials`."""
        return self.population if self.population is not None else max(10, min(50, self.trials // 6))


@dataclass(frozen=True, kw_only=True)
class Place(Options):
    """Options of where evaluations run; chosen by the runner and not stored.

    Raises:
        UsageError: a value is invalid, or the device does not exist on this machine.
    """

    workers: int = option(
        1,
        "Number of evaluating processes; 1 evaluates in this process. A script that uses more must be guarded by "
        '`if __name__ == "__main__"`.',
        least=1,
        most=1024,
        local=True,
    )
    cluster: str | None = option(
        None,
        "Address of a Dask scheduler whose workers evaluate instead of local processes.",
        metavar="tcp://HOST:PORT",
        local=True,
    )
    device: str = option("auto", "Device: auto, cpu, cuda or cuda:N.", local=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        # These always exist. Checking others loads torch, which a command that only queues a search does not need.
        if self.device not in ("auto", "cpu"):
            resolve_device(self.device)


def resolve_device(device: str) -> str:
    """Return the torch device of a device option.

    Raises:
        UsageError: the device is unknown or does not exist on this machine.
    """
    # Imported here: options are also read by processes that compute nothing.
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
