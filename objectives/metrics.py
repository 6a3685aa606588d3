"""Metrics of a candidate's outputs, and their registry.

The registry holds specifications only: the functions are imported when a metric is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from leanfront.core.objectives.measurement import COST_SPLIT, Measurement
from leanfront.core.objectives.views import (
    CORRUPTED,
    CORRUPTED_SAMPLES,
    NOISY,
    NOISY_SAMPLES,
    SEVERITIES,
    SIGMA,
)
from leanfront.deferred import Deferred
from leanfront.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

CONFIDENCE = 0.95
"""Coverage of all stored intervals."""

TOP_K = 5

DENSE = "dense"
"""Entry of `Metric.needs`: the dense model's logits on the same samples."""

Estimate = tuple[float, float | None, float | None]
"""Value, lower end and upper end of its interval; the ends are None if there is no interval."""


@dataclass(frozen=True)
class Metric:
    """One number computed from logits and labels.

    Args:
        name: name of the measurement.
        unit: unit of the value; ``"1"`` for shares.
        maximise: whether larger is better.
        compute: function (logits (N, C) float, labels (N,) int64) -> (value, low, high). The entries of `needs` are
            passed as keyword arguments. Inputs are checked and on the CPU; see `measure`.
        chance: function from the number of classes to the value of a guessing model, the default hypervolume
            reference.
        source: source of the definition, one line.
        needs: further inputs: ``dense`` for the dense model's logits (N, C) on the same samples, or the name of a
            view of `leanfront.core.objectives.views`, on which both models are then evaluated.
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
        """Names of the views that the metric needs."""
        return tuple(need for need in self.needs if need != DENSE)

    @property
    def always(self) -> bool:
        """Whether it is measured on every candidate, since it needs no further evaluation."""
        return not self.views


_OUTPUTS = "leanfront.core.objectives.classification"
_COMPARED = "leanfront.core.objectives.compared"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="accuracy",
            unit="1",
            maximise=True,
            compute=Deferred(f"{_OUTPUTS}:accuracy"),
            chance=lambda classes: 1 / classes,
            source="share of samples whose largest logit is the label's; 95% Wilson interval",
        ),
        Metric(
            name="top5_accuracy",
            unit="1",
            maximise=True,
            compute=Deferred(f"{_OUTPUTS}:top5_accuracy"),
            chance=lambda classes: min(TOP_K, classes) / classes,
            source="share of samples with the label among the 5 largest logits; 95% Wilson interval",
        ),
        Metric(
            name="cross_entropy",
            unit="nat",
            maximise=False,
            compute=Deferred(f"{_OUTPUTS}:cross_entropy"),
            chance=lambda classes: math.log(classes),
            source="mean of -ln softmax(logits)[label]; 95% normal interval from the sample variance",
        ),
        Metric(
            name="ece",
            unit="1",
            maximise=False,
            compute=Deferred(f"{_COMPARED}:ece"),
            chance=lambda classes: 1.0,
            source="expected calibration error, 15 equal-width bins (Guo et al. 2017)",
        ),
        Metric(
            name="worst_class_drop",
            unit="1",
            maximise=False,
            compute=Deferred(f"{_COMPARED}:worst_drop"),
            chance=lambda classes: 1.0,
            source="largest drop of a class's recall from the dense model; 95% interval over all classes "
            "(Bonferroni)",
            needs=(DENSE,),
        ),
        Metric(
            name="pie_rate",
            unit="1",
            maximise=False,
            compute=Deferred(f"{_COMPARED}:pie_rate"),
            chance=lambda classes: 1 - 1 / classes,
            source="share of samples whose answer differs from the dense model's (Hooker et al. 2019, K = 1); 95% "
            "Wilson interval",
            needs=(DENSE,),
        ),
        Metric(
            name="mce",
            unit="1",
            maximise=False,
            compute=Deferred(f"{_COMPARED}:mce"),
            # Twice the dense model's errors, since a guess's value depends on how hard the images are.
            chance=lambda classes: 2.0,
            source=f"mean corruption error relative to the dense model, 15 C-like corruptions at severities "
            f"{', '.join(map(str, SEVERITIES))} of up to {CORRUPTED_SAMPLES} samples (Hendrycks and Dietterich "
            "2019); 95% bootstrap interval",
            needs=(CORRUPTED,),
        ),
        Metric(
            name="flip_rate",
            unit="1",
            maximise=False,
            compute=Deferred(f"{_COMPARED}:changed_answers"),
            chance=lambda classes: 1 - 1 / classes,
            source=f"share of answers changed by Gaussian noise of {SIGMA} on pixels in [0, 1], up to "
            f"{NOISY_SAMPLES} samples; 95% Wilson interval",
            needs=(NOISY,),
        ),
    )
}
"""Metrics by measurement name. To add one, write a function and an entry here."""


def register(metric: Metric) -> Metric:
    """Add a metric to the registry.

    Raises:
        ValueError: the name is already registered.
    """
    if metric.name in METRICS:
        raise ValueError(f"metric '{metric.name}' is registered already")
    METRICS[metric.name] = metric
    return metric


def require_metrics(names: Sequence[str]) -> None:
    """Check that all names are metrics.

    Raises:
        UsageError: a name is unknown; the message lists the known ones.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise UsageError(f"unknown metric: {', '.join(unknown)}; known: {', '.join(METRICS)}")


def metrics_of(wanted: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names of the metrics to measure: those that need no further evaluation, and the requested ones.

    Args:
        wanted: names of requested metrics; unknown names are ignored.
    """
    names = tuple(wanted)
    return tuple(name for name, metric in METRICS.items() if metric.always or name in names)


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Compute the Wilson score interval of a binomial proportion.

    With p = successes / n and z the normal quantile of (1 + confidence) / 2, the interval is
    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n). It keeps its coverage near 0 and 1, where the
    interval p ± z √(p(1-p)/n) collapses.

    Args:
        successes: number of successes, 0..n.
        n: number of trials, at least 1.
        confidence: coverage in (0, 1).

    Returns:
        Lower end and upper end, in [0, 1].

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
    # At successes = 0 and n the formula gives exactly 0 and 1, which rounding would miss.
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
    """Measure metrics on one split.

    Args:
        names: names of metrics in `METRICS`.
        logits: (N, C) float, any device.
        labels: (N,) int64 in 0..C-1.
        split: split of the samples: ``calibration``, ``validation``, ``test`` or ``train``.
        given: further inputs of the metrics, by the names in their `needs`.

    Returns:
        One measurement per name, in order. Its count is N, or the number of samples of the view that it needs.

    Raises:
        UsageError: an unknown metric, no split, or a missing input of a metric.
        EvaluationError: wrong shapes, no samples, labels out of range, or logits that are NaN or infinite.
    """
    from leanfront.core.objectives.checking import require_measurable

    require_metrics(names)
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
