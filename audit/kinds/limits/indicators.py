"""What changes along an axis of compression beside accuracy, and which change shows first."""

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
"""Resamples of the samples."""
DEVIATIONS = 2.0
"""Standard deviations of the difference to the dense model beyond which a value has left it."""


@dataclass(frozen=True)
class Trace:
    """What one model does on each of some samples.

    Args:
        right: (n,) 1 where its answer is the label, else 0.
        loss: (n,) cross-entropy, nats.
        bins: (n,) which of the `BINS` bins the confidence lies in.
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
        """Of logits (n, C), and the dense model's."""
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
    """A number along an axis.

    Args:
        name: of the number.
        values: at each ratio, the dense model's first.
        deviations: standard deviations of the differences to the dense model, by bootstrap over samples.
        leaves: the first ratio from which it differs by more than `DEVIATIONS` of them, there and at the next ratio
            (or at the last); None where it never does.
        before_cliff: whether that is before accuracy breaks; None where either never happens.
    """

    name: str
    values: tuple[float, ...]
    deviations: tuple[float, ...]
    leaves: float | None
    before_cliff: bool | None


def resamples(count: int, draws: int = DRAWS, seed: int = 0) -> Floats:
    """(draws, count) weights of samples that are drawn with replacement; each row sums to 1."""
    random = np.random.default_rng([seed, count])
    found: Floats = random.multinomial(count, np.full(count, 1 / count), size=draws) / count
    return found


def mean_of(field: str, traces: Sequence[Trace]) -> Callable[[Floats], Floats]:
    """(draws, n) weights -> (draws, versions) means of a field."""
    values = np.stack([getattr(trace, field) for trace in traces])
    return lambda weights: weights @ values.T


def ece_of(traces: Sequence[Trace]) -> Callable[[Floats], Floats]:
    """(draws, n) weights -> (draws, versions) expected calibration errors, as `objectives/calibration.py`."""

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
    """Judge a number along an axis.

    Args:
        name: of the number.
        values: (versions,) the dense model's first.
        draws: (draws, versions) of the same resamples for all versions.
        ratios: (versions,).
        cliff: where accuracy breaks, if it does.
    """
    spread = (draws - draws[:, :1]).std(axis=0, ddof=1)
    out = np.abs(values - values[0]) > DEVIATIONS * spread + 1e-12
    # One in twenty leaves by chance: it must be out at two ratios in a row.
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
    """Accuracy, generalisation gap, ECE, agreement with the dense model, and flips under noise.

    Args:
        traces: of every version on held-out samples, the dense model's first.
        seen: likewise on samples that the model learned from or was compressed on.
        flips: (k,) of every version, whether noise changed its answer; None where there are no images.
        ratios: one a version.
        cliff: where accuracy breaks, if it does.
        seed: of resampling.
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
