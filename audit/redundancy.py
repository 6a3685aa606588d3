"""Redundancy of corruptions: groups of corruptions that have the same effect on all candidates."""

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
"""Mean correlation of effects from which corruptions count as redundant."""
FEWEST = 3
DECIMALS = 12
"""Effects are rounded to this many decimals, so that those that differ only by rounding are ties."""


def pearson(effects: Array) -> Array:
    """Compute the correlation of columns: (candidates, k) -> (k, k)."""
    found: Array = np.atleast_2d(np.corrcoef(effects, rowvar=False)).clip(-1, 1)
    found = (found + found.T) / 2
    np.fill_diagonal(found, 1.0)
    return found


def spearman(effects: Array) -> Array:
    """Compute Pearson's correlation of ranks, with ties at their mean rank: (candidates, k) -> (k, k)."""
    return pearson(rankdata(effects, axis=0))


CORRELATIONS: dict[str, Callable[[Array], Array]] = {"spearman": spearman, "pearson": pearson}
"""Measures of the similarity of two corruptions' effects."""


@dataclass(frozen=True)
class Cluster:
    """Corruptions with similar effects.

    Args:
        members: names of the corruptions, in the order of the leaves.
        representative: the member with the largest mean correlation with the others.
    """

    members: tuple[str, ...]
    representative: str


@dataclass(frozen=True)
class Redundancy:
    """Similarity of corruptions across candidates.

    Args:
        corruptions: the k corruptions whose effect differs between candidates, in the order given.
        constant: corruptions left out because their effect is the same on all candidates.
        candidates: number of candidates; correlations over few candidates are large by chance.
        pearson: (k, k) correlations.
        spearman: (k, k) rank correlations.
        method: the correlation that was clustered.
        cut: mean correlation from which clusters are merged.
        order: the corruptions in the order of the leaves, so that neighbours are similar.
        clusters: the clusters in that order.
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
        """Return a JSON-ready dictionary."""
        found: dict[str, Any] = plain(self)
        return found


def effects(accuracy: ArrayLike, clean: ArrayLike) -> Array:
    """Compute accuracy drops: clean accuracy minus the mean over severities.

    Args:
        accuracy: (candidates, corruptions, severities).
        clean: (candidates,).

    Returns:
        (candidates, corruptions).

    Raises:
        UsageError: the shapes do not fit.
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
        drops: (candidates, corruptions) effects from `effects`; 3 candidates or more.
        names: names of the corruptions.
        cut: mean correlation in (-1, 1] from which clusters are merged.
        method: a key of `CORRELATIONS`.

    Raises:
        UsageError: there are too few candidates, an effect is not finite, names do not fit or occur twice, the
            method is unknown, or the cut is out of range.

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
        # Of members equal up to rounding, the first given one.
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
    """Return the positions in the order of the leaves, and the cluster of each position."""
    if len(correlation) < 2:
        return list(range(len(correlation))), list(range(len(correlation)))
    distance = squareform(1 - correlation, checks=False)
    tree = linkage(distance, method="average", optimal_ordering=True)
    # A pair that correlates by exactly the cut is merged, however 1 - cut is rounded.
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
            f"effects must be (candidates, corruptions) with distinct names, not {table.shape} with "
            f"{', '.join(names)}"
        )
    if len(table) < FEWEST:
        raise UsageError(f"correlations across candidates need {FEWEST} of them or more, not {len(table)}")
    if not np.isfinite(table).all():
        raise UsageError("an effect is NaN or infinite: leave its candidate or its corruption out")
