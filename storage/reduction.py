"""Which members of a frontier a selection rule needs to see, so that it chooses as if it saw all of them.

The rules are written for candidates, one by one, and exact on ties; a frontier has thousands of members. Here
their scores are computed for all members at once, by the same formulas, and only those that can be chosen are
kept, with those that the scores are measured against.
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
"""Scores this near to the best are kept too: sums of the same terms in another order differ by rounding."""


def _accuracy(
    vectors: Floats, ids: NDArray[np.int64], objectives: Sequence[Objective], settings: Mapping[str, Any]
) -> Places:
    rows = {objective.measurement: row for objective, row in zip(objectives, vectors, strict=True)}
    best = np.arange(len(ids))
    for name in ("accuracy", "memory_bytes", "macs"):
        if name not in rows:
            # What decides next is not known here: all that are left can be it.
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
    """Places of some members whose vectors differ: the rule wants to know whether there are as many as that."""
    found: list[int] = []
    new = np.ones(len(scaled), dtype=np.bool_)
    while len(found) < FEWEST_FOR_KNEE and new.any():
        found.append(int(np.argmax(new)))
        new &= (scaled != scaled[found[-1]]).any(axis=1)
    return found


def _scaled(vectors: Floats) -> Floats:
    """(n, m) values, each column from its least to its largest as 0 to 1."""
    values = vectors.T
    span = values.max(axis=0) - values.min(axis=0)
    scaled: Floats = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)
    return scaled


def _ends(vectors: Floats) -> list[int]:
    """A member of least and one of largest value in every objective: they set the scale."""
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
"""Strategy -> (vectors (m, n) of a strict front, their ids, objectives, the strategy's settings) -> places of the
members to show to the rule, in rising order."""
