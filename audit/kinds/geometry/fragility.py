"""Robust and fragile samples: those that keep their class under pruning, and those that lose it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leanfront.errors import UsageError

FRAGILE = 0.5
"""Least share of the models that misclassify a fragile sample."""


@dataclass(frozen=True)
class Fragility:
    """Samples separated by their margins.

    Args:
        robust: numbers of the samples with a margin above 0 under every pruned model, the least drop first.
        fragile: numbers of the samples with a margin above 0 under the dense model, and of 0 or less under at least
            half of the pruned models, the largest drop first.
        drop: (N,) dense margin minus the mean pruned margin.
        lost: (N,) share of the pruned models under which the margin is 0 or less, or undefined.
    """

    robust: tuple[int, ...]
    fragile: tuple[int, ...]
    drop: NDArray[np.float64]
    lost: NDArray[np.float64]


def fragility(dense: ArrayLike, pruned: ArrayLike) -> Fragility:
    """Separate robust and fragile samples by their margins.

    Args:
        dense: (N,) margins under the dense model.
        pruned: (m, N) margins under each pruned model, at least one.

    Raises:
        UsageError: the shapes do not fit.
    """
    before, after = np.asarray(dense, dtype=np.float64), np.asarray(pruned, dtype=np.float64)
    if after.ndim != 2 or not len(after) or before.shape != after.shape[1:]:
        raise UsageError(f"margins must be (N,) and (models, N), not {before.shape} and {after.shape}")
    lost = (~(after > 0)).mean(axis=0)
    drop = before - after.mean(axis=0)
    # NaN sorts last either way.
    robust = [int(place) for place in np.argsort(drop, kind="stable") if lost[place] == 0]
    fragile = [
        int(place)
        for place in np.argsort(-drop, kind="stable")
        if before[place] > 0 and lost[place] >= FRAGILE
    ]
    return Fragility(tuple(robust), tuple(fragile), drop, lost)
