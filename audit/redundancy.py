"""Which corruptions tell candidates apart in the same way, so that one of them would do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from leanfront.core.objectives.documents import plain
from leanfront.errors import UsageError

Array = NDArray[np.float64]

CUT = 0.9
"""Corruptions whose effects correlate as much on the average are called redundant."""
FEWEST = 3
DECIMALS = 12
"""Effects that differ by rounding alone are ties."""


def pearson(effects: Array) -> Array:
    """Correlation of columns: (candidates, k) -> (k, k)."""
    found: Array = np.atleast_2d(np.corrcoef(effects, rowvar=False)).clip(-1, 1)
    found = (found + found.T) / 2
    np.fill_diagonal(found, 1.0)
    return found


def spearman(effects: Array) -> Array:
    """Pearson's correlation of ranks, ties at their mean rank: (candidates, k) -> (k, k)."""
    return pearson(rankdata(effects, axis=0))


CORRELATIONS: dict[str, Callable[[Array], Array]] = {"spearman": spearman, "pearson": pearson}
"""Measures of how alike two corruptions' effects are."""


@dataclass(frozen=True)
class Cluster:
    """Corruptions that move together.

    Args:
        members: in the order of the leaves.
        representative: the member that correlates most with the others on the average.
    """

    members: tuple[str, ...]
    representative: str


@dataclass(frozen=True)
class Redundancy:
    """How alike corruptions are across candidates.

    Args:
        corruptions: k whose effect differs between candidates, in the order given.
        constant: those left out, whose effect is the same on all candidates.
        candidates: how many the correlations are over: with few of them they are large by chance.
        pearson: (k, k).
        spearman: (k, k).
        method: which of the two was clustered.
        cut: mean correlation from which clusters are one.
        order: the corruptions in the order of the leaves: neighbours are alike.
        clusters: in that order.
    """

    corruptions: tuple[str, ...]
    constant: tuple[str, ...]
    candidates: int
    pearson: tuple[tuple[float, ...], ...]
    spearman: tuple[tuple[float, ...], ...]
    method: str
    cut: float
    order: tuple[str, ...]
    clusters: tuple[Cluster, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        found: dict[str, Any] = plain(self)
        return found


def effects(accuracy: ArrayLike, clean: ArrayLike) -> Array:
    """Accuracy drops: clean accuracy minus the mean over severities.

    Args:
        accuracy: (candidates, corruptions, severities).
        clean: (candidates,).

    Returns:
        (candidates, corruptions).

    Raises:
        UsageError: shapes that do not fit.
    """
    table, top = np.asarray(accuracy, dtype=np.float64), np.asarray(clean, dtype=np.float64)
    if table.ndim != 3 or not table.size or top.shape != table.shape[:1]:
        raise UsageError(
            f"effects need accuracies (candidates, corruptions, severities) and (candidates,), not {table.shape} and "
            f"{top.shape}"
        )
    drops: Array = top[:, None] - table.mean(axis=2)
    return drops


def redundancy(
    drops: ArrayLike, names: Sequence[str], *, cut: float = CUT, method: str = "spearman"
) -> Redundancy:
    """Correlate corruptions' effects across candidates and cluster them by average linkage of 1 - correlation.

    Args:
        drops: (candidates, corruptions) effects, as `effects` gives; 3 candidates or more.
        names: of the corruptions.
        cut: mean correlation in (-1, 1] from which clusters are merged.
        method: a key of `CORRELATIONS`.

    Raises:
        UsageError: too few candidates, effects that are not finite, names that do not fit or come twice, an unknown
            method, or a cut outside its range.

    Source: Sokal and Michener, "A statistical method for evaluating systematic relationships", 1958 (average
    linkage); the question of near-redundant benchmarks: arXiv 2206.07918.
    """
    table = np.asarray(drops, dtype=np.float64)
    _check(table, names, cut, method)
    table = table.round(DECIMALS)
    varies = np.ptp(table, axis=0) > 0
    kept = [name for name, moves in zip(names, varies, strict=True) if moves]
    constant = tuple(name for name, moves in zip(names, varies, strict=True) if not moves)
    found = {
        name: correlate(table[:, varies]) if kept else np.zeros((0, 0))
        for name, correlate in CORRELATIONS.items()
    }
    order, labels = _clusters(found[method], cut)
    clusters = []
    for label in dict.fromkeys(labels[place] for place in order):
        members = [place for place in order if labels[place] == label]
        near = found[method][np.ix_(members, members)].sum(axis=1)
        # Equal but for rounding: the first given, not whichever the leaves begin with.
        best = min(place for place, sum_ in zip(members, near, strict=True) if sum_ >= near.max() - 1e-9)
        clusters.append(Cluster(tuple(kept[place] for place in members), kept[best]))
    return Redundancy(
        tuple(kept),
        constant,
        len(table),
        _rows(found["pearson"]),
        _rows(found["spearman"]),
        method,
        cut,
        tuple(kept[place] for place in order),
        tuple(clusters),
    )


def _clusters(correlation: Array, cut: float) -> tuple[list[int], list[int]]:
    """Places in the order of the leaves, and each place's cluster."""
    if len(correlation) < 2:
        return list(range(len(correlation))), list(range(len(correlation)))
    distance = squareform(1 - correlation, checks=False)
    tree = linkage(distance, method="average", optimal_ordering=True)
    # A pair that correlates by the cut exactly is merged, whatever rounding makes of 1 - cut.
    labels = fcluster(tree, 1 - cut + 1e-9, criterion="distance")
    return leaves_list(tree).tolist(), labels.tolist()


def _rows(matrix: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def _check(table: Array, names: Sequence[str], cut: float, method: str) -> None:
    if method not in CORRELATIONS:
        raise UsageError(f"unknown correlation '{method}'; known: {', '.join(CORRELATIONS)}")
    if not -1 < cut <= 1:
        raise UsageError(f"the cut is a correlation in (-1, 1], not {cut}")
    if table.ndim != 2 or table.shape[1] != len(names) or len(set(names)) < len(names):
        raise UsageError(
            f"effects must be (candidates, corruptions) with a name of its own each, not {table.shape} with "
            f"{', '.join(names)}"
        )
    if len(table) < FEWEST:
        raise UsageError(f"correlations across candidates need {FEWEST} of them or more, not {len(table)}")
    if not np.isfinite(table).all():
        raise UsageError("an effect is NaN or infinite: leave its candidate or its corruption out")
