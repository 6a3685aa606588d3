"""Calibration of a classifier's confidence: calibration error, Brier score, log-likelihood, temperature scaling.

Everything is computed in float64. The confidence of a sample is its largest softmax probability. `correct` decides
whether a sample is right, so ties between logits go to the first class, as in accuracy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.checking import checked
from leanfront.core.objectives.documents import plain
from leanfront.core.targets.sampling import stratified

BINS = 15

LOWEST, HIGHEST = 1e-2, 1e4
"""Bounds of a fitted temperature. There is no optimum if every label has the largest logit, since the loss keeps
falling with the temperature. The bounds still correct logits that are a hundred times too flat or ten thousand times
too sharp."""


@dataclass(frozen=True)
class Bin:
    """Samples whose confidence lies in (low, high].

    Args:
        low, high: borders of the bin.
        count: number of samples.
        confidence: mean confidence of the samples; None for an empty bin.
        accuracy: share of right samples; None for an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None

    @property
    def gap(self) -> float:
        """|accuracy - confidence|; 0 for an empty bin."""
        return (
            0.0 if self.accuracy is None or self.confidence is None else abs(self.accuracy - self.confidence)
        )


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: equal-width bins of confidence, empty ones included.

    Source: DeGroot and Fienberg 1983; Guo et al., "On calibration of modern neural networks", 2017.
    """

    bins: tuple[Bin, ...]

    @property
    def count(self) -> int:
        """Number of samples."""
        return sum(each.count for each in self.bins)

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over samples of the gap of their bin, in [0, 1]."""
        return math.fsum(each.count * each.gap for each in self.bins) / self.count

    @property
    def mce_max(self) -> float:
        """Maximum calibration error: the largest gap of any bin. Not the mCE of corruptions."""
        return max(each.gap for each in self.bins)

    def to_json(self) -> dict[str, Any]:
        """Return the bins and both errors."""
        return {**plain(self), "ece": self.ece, "mce_max": self.mce_max}


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature, by which logits are divided.

    Args:
        value: the temperature, in `LOWEST`..`HIGHEST`.
        bounded: whether the value is a bound or a convention instead of an optimum.
        reason: why the value is no optimum; None at an optimum.
        count: number of samples it was fitted on.
    """

    value: float
    bounded: bool
    reason: str | None
    count: int


@dataclass(frozen=True)
class Calibration:
    """Calibration of one model on one split, before and after temperature scaling.

    Args:
        count: number of samples.
        ece, nll, brier: expected calibration error, negative log-likelihood (nat) and Brier score on all samples.
        reliability: reliability diagram of all samples.
        temperature: the temperature, fitted on other samples than it is judged on; None with too few samples.
        judged: number of samples behind the following figures: all samples if the temperature was fitted on another
            split.
        ece_before, nll_before: figures on the judged samples without the temperature.
        ece_after, nll_after: figures on the judged samples with the temperature.
        reliability_after: reliability diagram of the judged samples with the temperature.
        note: which samples the temperature was fitted on, or why there is none.
    """

    count: int
    ece: float
    nll: float
    brier: float
    reliability: Reliability
    temperature: Temperature | None
    judged: int
    ece_before: float | None
    nll_before: float | None
    ece_after: float | None
    nll_after: float | None
    reliability_after: Reliability | None
    note: str

    def to_json(self) -> dict[str, Any]:
        """Return the document to store."""
        after = self.reliability_after
        return {
            **plain(self),
            "reliability": self.reliability.to_json(),
            "reliability_after": after.to_json() if after else None,
        }


def reliability(logits: Tensor, labels: Tensor) -> Reliability:
    """Compute the reliability diagram with `BINS` equal-width bins (low, high].

    Args:
        logits: (N, C) float.
        labels: (N,) integers in 0..C-1.

    Raises:
        EvaluationError: see `checked`.
    """
    logits, labels = checked(logits, labels)
    confidence = logits.softmax(dim=1).amax(dim=1).numpy()
    right = correct(logits, labels).numpy()
    # k / BINS is the double nearest to the border; a sum of widths is not.
    borders = np.arange(BINS + 1) / BINS
    # Find the first border >= confidence: a value on a border belongs to the bin below. Rounding may exceed 1.
    places = np.minimum(np.searchsorted(borders[1:], confidence, side="left"), BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    confident = np.bincount(places, weights=confidence, minlength=BINS)
    hits = np.bincount(places, weights=right, minlength=BINS)
    return Reliability(
        tuple(
            Bin(
                float(borders[k]),
                float(borders[k + 1]),
                int(counts[k]),
                float(confident[k] / counts[k]) if counts[k] else None,
                float(hits[k] / counts[k]) if counts[k] else None,
            )
            for k in range(BINS)
        )
    )


def expected_calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Compute the ECE: the sum over bins of n_b / n |accuracy - confidence|, in [0, 1].

    Args:
        logits: (N, C) float.
        labels: (N,) integers in 0..C-1.

    Raises:
        EvaluationError: see `checked`.

    Source: Naeini et al. 2015; Guo et al. 2017, with their 15 bins.
    """
    return reliability(logits, labels).ece


def brier(logits: Tensor, labels: Tensor) -> float:
    """Compute the mean squared distance between softmax and the true class's unit vector, in [0, 2].

    Args:
        logits: (N, C) float.
        labels: (N,) integers in 0..C-1.

    Raises:
        EvaluationError: see `checked`.

    Source: Brier 1950, the original form for multiple classes.
    """
    logits, labels = checked(logits, labels)
    wanted = torch.nn.functional.one_hot(labels, logits.shape[1])
    return float((logits.softmax(dim=1) - wanted).square().sum(dim=1).mean())


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Compute the mean of -ln softmax(logits)[label] in nats.

    Args:
        logits: (N, C) float.
        labels: (N,) integers in 0..C-1.

    Raises:
        EvaluationError: see `checked`.
    """
    return float(torch.nn.functional.cross_entropy(*checked(logits, labels)))


def fit_temperature(logits: Tensor, labels: Tensor) -> Temperature:
    """Fit the T in `LOWEST`..`HIGHEST` that minimises the negative log-likelihood of logits / T.

    The loss is convex in 1 / T, so its slope at a bound shows whether the optimum lies beyond; if it does, T is the
    bound and `bounded` is set. If all logits of each sample are equal, every T is equally good and T is 1.

    Args:
        logits: (N, C) float.
        labels: (N,) integers in 0..C-1.

    Raises:
        EvaluationError: see `checked`.

    Source: Guo et al. 2017, temperature scaling.
    """
    logits, labels = checked(logits, labels)
    n = len(labels)
    logits = logits - logits.amax(dim=1, keepdim=True)
    own = logits.gather(1, labels[:, None])[:, 0]

    # Half a second to import, and every search imports this module.
    from scipy.optimize import minimize_scalar

    def slope(temperature: float) -> float:
        """Derivative of the loss in 1 / T."""
        expected = ((logits / temperature).softmax(dim=1) * logits).sum(dim=1)
        return float((expected - own).mean())

    if not bool(logits.any()):
        return Temperature(1.0, True, "all logits of each sample are equal: every temperature is as good", n)
    if slope(LOWEST) <= 0:
        reason = f"the loss still falls at {LOWEST:g}: every label's logit is the largest, or all lie close together"
        return Temperature(LOWEST, True, reason, n)
    if slope(HIGHEST) >= 0:
        reason = f"the loss still falls at {HIGHEST:g}: the logits tell no more of the labels than chance"
        return Temperature(HIGHEST, True, reason, n)
    found = minimize_scalar(
        lambda log: float(torch.nn.functional.cross_entropy(logits / math.exp(log), labels)),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return Temperature(math.exp(float(found.x)), False, None, n)


def calibration(
    logits: Tensor, labels: Tensor, *, fit: tuple[Tensor, Tensor] | None = None, seed: int = 0
) -> Calibration:
    """Measure calibration, and how much of the error temperature scaling removes.

    The temperature is never judged on the samples it was fitted on. It is fitted on `fit` and judged on all samples;
    without `fit`, it is fitted on a random, stratified half of the samples and judged on the other half.

    Args:
        logits: (N, C) float.
        labels: (N,) integers in 0..C-1.
        fit: logits and labels of other samples to fit the temperature on.
        seed: seed of the split into halves.

    Raises:
        EvaluationError: see `checked`.

    Source: Guo et al. 2017.
    """
    logits, labels = checked(logits, labels)
    n = len(labels)
    diagram = reliability(logits, labels)
    if fit is not None:
        temperature, judged = fit_temperature(*fit), (logits, labels)
        note = f"temperature fitted on {temperature.count} other samples"
    elif n < 2:
        temperature, judged = None, None
        note = "no temperature: one sample cannot be both fitted on and judged on"
    else:
        fitted, rest = stratified(labels, (n // 2, n - n // 2), seed=seed)
        temperature, judged = fit_temperature(logits[fitted], labels[fitted]), (logits[rest], labels[rest])
        note = f"temperature fitted on a random half, {n // 2} samples, and judged on the other {n - n // 2}"
    before = after = nll_before = nll_after = None
    if temperature is not None and judged is not None:
        scaled = judged[0] / temperature.value
        before, after = reliability(*judged), reliability(scaled, judged[1])
        nll_before, nll_after = (negative_log_likelihood(each, judged[1]) for each in (judged[0], scaled))
    return Calibration(
        count=n,
        ece=diagram.ece,
        nll=negative_log_likelihood(logits, labels),
        brier=brier(logits, labels),
        reliability=diagram,
        temperature=temperature,
        judged=len(judged[1]) if judged is not None else 0,
        ece_before=before.ece if before else None,
        nll_before=nll_before,
        ece_after=after.ece if after else None,
        nll_after=nll_after,
        reliability_after=after,
        note=note,
    )
