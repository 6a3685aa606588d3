"""What is measured on a candidate's outputs, and the registry of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from compressors.outputs import correct
from objectives.measurement import COST_SPLIT, Measurement
from targets.errors import EvaluationError, UsageError

CONFIDENCE = 0.95
"""Coverage of every interval that is stored."""

TOP_K = 5

Estimate = tuple[float, float | None, float | None]
"""Value, lower and upper end of its interval."""


@dataclass(frozen=True)
class Metric:
    """One number computed from logits and labels.

    Args:
        name: the measurement's name.
        unit: unit of the value; ``"1"`` for shares.
        maximise: whether larger is better.
        compute: (logits (N, C) float, labels (N,) int64) -> value, low, high. Inputs are checked and on the
            CPU; see `measure`.
        chance: number of classes -> the value of a model that guesses: the default hypervolume reference.
        source: where the definition comes from, one line.
    """

    name: str
    unit: str
    maximise: bool
    compute: Callable[[Tensor, Tensor], Estimate]
    chance: Callable[[int], float]
    source: str


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


def measure(names: Sequence[str], logits: Tensor, labels: Tensor, split: str) -> list[Measurement]:
    """Compute metrics on one split.

    Args:
        names: names of metrics in `METRICS`.
        logits: (N, C) float, any device.
        labels: (N,) int64 in 0..C-1.
        split: the split the samples come from: ``calibration``, ``validation``, ``test`` or ``train``.

    Returns:
        One measurement a name, in order, with count N.

    Raises:
        UsageError: an unknown metric, or no split.
        EvaluationError: wrong shapes, no samples, labels out of range, or logits that are NaN or infinite.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise UsageError(f"unknown metric: {', '.join(unknown)}; known: {', '.join(METRICS)}")
    if split == COST_SPLIT:
        raise UsageError("a metric is measured on a split of the data: name calibration, validation or test")
    logits, labels = logits.detach().cpu(), labels.detach().cpu()
    _check(logits, labels)
    results = []
    for name in names:
        metric = METRICS[name]
        value, low, high = metric.compute(logits, labels)
        results.append(Measurement(name, value, split, low, high, int(labels.shape[0]), metric.unit))
    return results


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or not logits.is_floating_point():
        raise EvaluationError(
            f"a classifier's outputs must be floats of shape (samples, classes), not {logits.dtype} of shape "
            f"{tuple(logits.shape)}"
        )
    if labels.shape != logits.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
        raise EvaluationError(
            f"labels must be integers of shape ({logits.shape[0]},), not {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    if logits.numel() == 0:
        raise EvaluationError(
            f"nothing to measure: outputs of shape {tuple(logits.shape)}; is the split empty?"
        )
    bad = int((~torch.isfinite(logits)).any(dim=1).sum())
    if bad:
        raise EvaluationError(
            f"the model's outputs are NaN or infinite for {bad} of {logits.shape[0]} samples"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise EvaluationError(
            f"labels span {low}..{high} but the model has {logits.shape[1]} outputs: they must lie in "
            f"0..{logits.shape[1] - 1}"
        )


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
