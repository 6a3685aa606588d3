"""What is measured on a candidate's outputs, and the registry of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.checking import require_measurable
from leanfront.core.objectives.measurement import COST_SPLIT, Measurement
from leanfront.errors import UsageError

CONFIDENCE = 0.95
"""Coverage of every interval that is stored."""

TOP_K = 5

DENSE = "dense"
"""What a metric needs that compares with the dense model's outputs on the same samples."""

Estimate = tuple[float, float | None, float | None]
"""Value, lower and upper end of its interval."""


@dataclass(frozen=True)
class Metric:
    """One number computed from logits and labels.

    Args:
        name: the measurement's name.
        unit: unit of the value; ``"1"`` for shares.
        maximise: whether larger is better.
        compute: (logits (N, C) float, labels (N,) int64) -> value, low, high; what it needs besides comes under
            the names of `needs`. Inputs are checked and on the CPU; see `measure`.
        chance: number of classes -> the value of a model that guesses: the default hypervolume reference.
        source: where the definition comes from, one line.
        needs: what it is computed from besides: ``dense``, the dense model's logits (N, C) on the same samples; or
            a view of `leanfront.core.objectives.views`, on whose inputs both models are run for it.
    """

    name: str
    unit: str
    maximise: bool
    compute: Callable[..., Estimate]
    chance: Callable[[int], float]
    source: str
    needs: tuple[str, ...] = ()

    @property
    def views(self) -> tuple[str, ...]:
        """The views it needs, beside the dense model's outputs."""
        return tuple(need for need in self.needs if need != DENSE)

    @property
    def always(self) -> bool:
        """Whether every candidate has it: it costs no evaluation of its own."""
        return not self.views


METRICS: dict[str, Metric] = {}
"""Metrics by measurement name."""


def register(metric: Metric) -> Metric:
    """Add a metric to the registry; its name must be free."""
    if metric.name in METRICS:
        raise ValueError(f"metric '{metric.name}' is registered already")
    METRICS[metric.name] = metric
    return metric


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The Wilson score interval of a binomial proportion.

    With p = successes / n and z the normal quantile of (1 + confidence) / 2, the interval is
    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n). It keeps its coverage near 0 and 1, where the
    interval p ± z √(p(1-p)/n) collapses.

    Args:
        successes: number of successes, 0..n.
        n: number of trials, at least 1.
        confidence: coverage in (0, 1).

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: an argument is out of range.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"need 0 <= successes <= n and n >= 1, not {successes} successes of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), not {confidence}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    shrink = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    # At the ends the formula is exactly 0 or 1; rounding must not move it inside or outside.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def measure(
    names: Sequence[str],
    logits: Tensor,
    labels: Tensor,
    split: str,
    given: Mapping[str, Any] | None = None,
) -> list[Measurement]:
    """Compute metrics on one split.

    Args:
        names: names of metrics in `METRICS`.
        logits: (N, C) float, any device.
        labels: (N,) int64 in 0..C-1.
        split: the split the samples come from: ``calibration``, ``validation``, ``test`` or ``train``.
        given: what metrics need besides, by the names of their `needs`.

    Returns:
        One measurement a name, in order, with count N, or of a metric that needs a view the samples of that.

    Raises:
        UsageError: an unknown metric, no split, or what a metric needs is not given.
        EvaluationError: wrong shapes, no samples, labels out of range, or logits that are NaN or infinite.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise UsageError(f"unknown metric: {', '.join(unknown)}; known: {', '.join(METRICS)}")
    if split == COST_SPLIT:
        raise UsageError("a metric is measured on a split of the data: name calibration, validation or test")
    logits, labels = logits.detach().cpu(), labels.detach().cpu()
    require_measurable(logits, labels)
    given = given or {}
    results = []
    for name in names:
        metric = METRICS[name]
        missing = [need for need in metric.needs if need not in given]
        if missing:
            raise UsageError(f"metric '{name}' needs {' and '.join(missing)}, which is not at hand")
        value, low, high = metric.compute(logits, labels, **{need: given[need] for need in metric.needs})
        count = min(len(given[view].labels) for view in metric.views) if metric.views else len(labels)
        results.append(Measurement(name, value, split, low, high, count, metric.unit))
    return results


def _share(k: int) -> Callable[[Tensor, Tensor], Estimate]:
    def compute(logits: Tensor, labels: Tensor) -> Estimate:
        hits, n = int(correct(logits, labels.long(), k).sum()), int(labels.shape[0])
        return (hits / n, *wilson(hits, n))

    return compute


def _cross_entropy(logits: Tensor, labels: Tensor) -> Estimate:
    # float64: the mean over a large split is compared in its last digits, which float32 sums lose.
    losses = torch.nn.functional.cross_entropy(logits.double(), labels.long(), reduction="none")
    value, n = float(losses.mean()), int(losses.shape[0])
    if n < 2:
        return value, None, None
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * float(losses.std(correction=1)) / math.sqrt(n)
    return value, value - half, value + half


register(
    Metric(
        name="accuracy",
        unit="1",
        maximise=True,
        compute=_share(1),
        chance=lambda classes: 1 / classes,
        source="share of samples whose largest logit is the label's; 95% Wilson interval",
    )
)
register(
    Metric(
        name="top5_accuracy",
        unit="1",
        maximise=True,
        compute=_share(TOP_K),
        chance=lambda classes: min(TOP_K, classes) / classes,
        source="share of samples with the label among the 5 largest logits; 95% Wilson interval",
    )
)
register(
    Metric(
        name="cross_entropy",
        unit="nat",
        maximise=False,
        compute=_cross_entropy,
        chance=lambda classes: math.log(classes),
        source="mean of -ln softmax(logits)[label]; 95% normal interval from the sample variance",
    )
)
