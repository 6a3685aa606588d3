"""Indicators that change along an axis of compression besides accuracy, and which changes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from leanfront.core.audit.kinds.limits.curves import Floats
from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.calibration import BINS
from leanfront.core.objectives.robust import first_answers

DRAWS = 200
"""Number of resamples of the samples."""
DEVIATIONS = 2.0
"""Standard deviations beyond which a value differs from the dense model's."""


@dataclass(frozen=True)
class Trace:
    """Results of one model on each of some samples.

    Args:
        right: (n,) 1 where its answer is the label, else 0.
        loss: (n,) cross-entropy, nats.
        bins: (n,) index of the confidence bin, of `BINS`.
        gaps: (n,) right - confidence.
        agrees: (n,) 1 where its answer is the dense model's, else 0.
    """

    right: Floats
    loss: Floats
    bins: Floats
    gaps: Floats
    agrees: Floats

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, dense: Tensor) -> Trace:
        """Make a trace from logits (n, C) of a model and of the dense model."""
        exact = logits.double()
        right = correct(exact, labels).double().numpy()
        confidence = exact.softmax(dim=1).amax(dim=1).numpy()
        borders = np.arange(1, BINS + 1) / BINS
        return cls(
            right,
            torch.nn.functional.cross_entropy(exact, labels, reduction="none").numpy(),
            np.minimum(np.searchsorted(borders, confidence, side="left"), BINS - 1).astype(np.float64),
            right - confidence,
            (first_answers(logits) == first_answers(dense)).double().numpy(),
        )


@dataclass(frozen=True)
class Indicator:
    """A measure along an axis.

    Args:
        name: name of the measure.
        values: value at each ratio, the dense model's first.
        deviations: standard deviations of the differences to the dense model, by bootstrap over samples.
        leaves: the first ratio at which it differs by more than `DEVIATIONS` of them, there and at the next ratio
            (or at the last ratio alone); None if it never does.
        before_cliff: whether that ratio is before the one at which accuracy breaks; None if either is unknown.
    """

    name: str
    values: tuple[float, ...]
    deviations: tuple[float, ...]
    leaves: float | None
    before_cliff: bool | None


def resamples(count: int, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Draw weights (draws, count) of samples taken with replacement; each row sums to 1."""
    random = np.random.default_rng([seed, count])
    found: Floats = random.multinomial(count, np.full(count, 1 / count), size=draws) / count
    return found


def mean_of(field: str, traces: Sequence[Trace]) -> Callable[[Floats], Floats]:
    """Return a function of weights (draws, n) that computes the means of a field (draws, versions)."""
    values = np.stack([getattr(trace, field) for trace in traces])
    return lambda weights: weights @ values.T


def ece_of(traces: Sequence[Trace]) -> Callable[[Floats], Floats]:
    """Return a function of weights (draws, n) that computes expected calibration errors (draws, versions)."""

    def errors(weights: Floats) -> Floats:
        columns = []
        for trace in traces:
            split = np.where(trace.bins[:, None] == np.arange(BINS), trace.gaps[:, None], 0.0)
            columns.append(np.abs(weights @ split).sum(axis=1))
        return np.stack(columns, axis=1)

    return errors


def indicator(
    name: str, values: Floats, draws: Floats, ratios: Sequence[float], cliff: float | None
) -> Indicator:
    """Find the first ratio at which a measure differs from the dense model's.

    Args:
        name: name of the measure.
        values: (versions,) values, the dense model's first.
        draws: (draws, versions) values on the same resamples for all versions.
        ratios: (versions,) ratios.
        cliff: ratio at which accuracy breaks, or None.
    """
    spread = (draws - draws[:, :1]).std(axis=0, ddof=1)
    out = np.abs(values - values[0]) > DEVIATIONS * spread + 1e-12
    # One in twenty differs by chance, so two ratios in a row are required.
    stays = out & np.append(out[1:], True)
    places = np.flatnonzero(stays)
    leaves = ratios[int(places[0])] if len(places) else None
    before = None if leaves is None or cliff is None else leaves < cliff
    return Indicator(name, tuple(values.tolist()), tuple(spread.tolist()), leaves, before)


def indicators(
    traces: Sequence[Trace],
    seen: Sequence[Trace],
    flips: Sequence[Floats] | None,
    ratios: Sequence[float],
    cliff: float | None,
    seed: int = 0,
) -> Mapping[str, Indicator]:
    """Compute accuracy, generalisation gap, ECE, agreement with the dense model, and flips under noise.

    Args:
        traces: trace of every version on held-out samples, the dense model's first.
        seen: trace of every version on samples that the model learned from or was compressed on.
        flips: (k,) for every version, whether noise changed its answer; None if there are no images.
        ratios: ratio of each version.
        cliff: ratio at which accuracy breaks, or None.
        seed: seed of resampling.
    """
    own, other = (resamples(len(each[0].right), seed=seed) for each in (traces, seen))
    found: dict[str, tuple[Floats, Floats]] = {}

    def add(name: str, statistic: Callable[[Floats], Floats], weights: Floats) -> None:
        count = weights.shape[1]
        found[name] = statistic(np.full((1, count), 1 / count))[0], statistic(weights)

    add("accuracy", mean_of("right", traces), own)
    add("loss", mean_of("loss", traces), own)
    add("seen_loss", mean_of("loss", seen), other)
    gap = tuple(
        held_out - kept for held_out, kept in zip(found.pop("loss"), found.pop("seen_loss"), strict=True)
    )
    found["generalisation_gap"] = (gap[0], gap[1])
    add("ece", ece_of(traces), own)
    add("agreement", mean_of("agrees", traces), own)
    if flips is not None:
        changed = np.stack(list(flips))
        add("flip_rate", lambda weights: weights @ changed.T, resamples(changed.shape[1], seed=seed))
    return {name: indicator(name, *both, ratios, cliff) for name, both in found.items()}
