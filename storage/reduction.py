"""Reduction of a frontier to the members that a selection rule needs to make the same choice.

The rules work on candidates one by one and are exact on ties, but a frontier has thousands of members. Here the
scores of all members are computed at once with the same formulas; kept are only the members that can be chosen
and those that set the scale of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanfront.core.objectives.objective import Objective
from leanfront.core.objectives.strategies import FEWEST_FOR_KNEE, RHO, extreme, knee_distances

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

ROOM = 1e-9
"""Scores this close to the best are also kept: sums in another order differ by rounding."""


def _accuracy(
    vectors: Floats, ids: NDArray[np.int64], objectives: Sequence[Objective], settings: Mapping[str, Any]
) -> Places:
    rows = {objective.measurement: row for objective, row in zip(objectives, vectors, strict=True)}
    best = np.arange(len(ids))
    for name in ("accuracy", "memory_bytes", "macs"):
        if name not in rows:
            # The next tie-breaker is not an objective: any of these may be chosen.
            return best
        row = rows[name][best]
        best = best[row == row.min()]
    return best[[int(np.argmin(ids[best]))]]


def _knee(
    vectors: Floats, ids: NDArray[np.int64], objectives: Sequence[Objective], settings: Mapping[str, Any]
) -> Places:
    scaled = _scaled(vectors)
    distances = knee_distances(scaled)
    sums = scaled.sum(axis=1)
    extremes = [extreme(column, sums) for column in scaled.T]
    near = np.flatnonzero(distances >= distances.max() - ROOM)
    most_accurate = _accuracy(vectors, ids, objectives, settings)
    return _union(near, extremes, _different(scaled), _ends(vectors), most_accurate)


def _chebyshev(
    vectors: Floats, ids: NDArray[np.int64], objectives: Sequence[Objective], settings: Mapping[str, Any]
) -> Places:
    scaled = _scaled(vectors)
    share = np.array(settings["weights"]) / max(settings["weights"])
    achievement = (share * scaled).max(axis=1) + RHO * scaled.sum(axis=1)
    return _union(np.flatnonzero(achievement <= achievement.min() + ROOM), _ends(vectors))


def _lexicographic(
    vectors: Floats, ids: NDArray[np.int64], objectives: Sequence[Objective], settings: Mapping[str, Any]
) -> Places:
    rows = {objective.measurement: row for objective, row in zip(objectives, vectors, strict=True)}
    left, best = np.arange(len(ids)), []
    order = list(zip(settings["order"], settings["tolerances"], strict=True))
    for position, (each, tolerance) in enumerate(order):
        row = rows[each.measurement][left]
        best.append(int(left[np.argmin(row)]))
        left = left[row - row.min() <= (tolerance if position + 1 < len(order) else 0.0)]
    return _union(left, best)


def _different(scaled: Floats) -> list[int]:
    """Return the places of members with different vectors, up to the number the knee rule needs."""
    found: list[int] = []
    new = np.ones(len(scaled), dtype=np.bool_)
    while len(found) < FEWEST_FOR_KNEE and new.any():
        found.append(int(np.argmax(new)))
        new &= (scaled != scaled[found[-1]]).any(axis=1)
    return found


def _scaled(vectors: Floats) -> Floats:
    """Return (n, m) values, each column scaled to 0..1."""
    values = vectors.T
    span = values.max(axis=0) - values.min(axis=0)
    scaled: Floats = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)
    return scaled


def _ends(vectors: Floats) -> list[int]:
    """Return the places of a smallest and a largest member in each objective; they set the scale."""
    return [int(end(row)) for row in vectors for end in (np.argmin, np.argmax)]


def _union(*places: Sequence[int] | Places) -> Places:
    return np.unique(np.concatenate([np.asarray(each, dtype=np.int64) for each in places]))


REDUCTIONS: dict[
    str, Callable[[Floats, NDArray[np.int64], Sequence[Objective], Mapping[str, Any]], Places]
] = {
    "accuracy": _accuracy,
    "knee": _knee,
    "chebyshev": _chebyshev,
    "lexicographic": _lexicographic,
}
"""Strategy -> function (vectors (m, n) of a strict front, ids, objectives, settings of the strategy) that returns the
places of the members to show to the rule, in rising order."""
