"""Similarity of representations: distances of their geometry, a map of them, and the tree that links them."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.stats import rankdata
from sklearn.metrics.pairwise import nan_euclidean_distances

from leanfront.errors import UsageError

Array = NDArray[np.float64]

NORMAL_RANGE = 1.349
"""Interquartile range of a normal distribution, in standard deviations."""
CLIP = 5.0
"""Largest deviation from the median that counts."""
NEIGHBOURS = 15
"""UMAP's default; fewer where there are fewer representations."""


@dataclass(frozen=True)
class Map:
    """Representations as points in the plane.

    Args:
        points: (n, 2) points.
        explained: share of all squared distances from the centre that each of the two axes shows; NaN if all
            representations are equal.
        links: (n - 1) pairs of a minimum spanning tree of the distances, the smaller number first.
        lengths: lengths of the links: the original distances, not those of the map.
    """

    points: Array
    explained: tuple[float, float]
    links: tuple[tuple[int, int], ...]
    lengths: tuple[float, ...]


def vectors(measures: ArrayLike) -> Array:
    """Make one vector per representation: its measures over the samples, each measure standardised over everything.

    Measures are standardised by median and interquartile range, in standard deviations of a normal distribution, and
    clipped at `CLIP`, since the features of a broken network may be a thousand times as long as all others. A measure
    whose middle half is one value becomes 0 there and `CLIP` elsewhere. NaN stays.

    Args:
        measures: (n, k, N) for n representations, k measures and N samples.

    Returns:
        (n, k N) vectors.

    Raises:
        UsageError: the shape differs.
    """
    table = np.asarray(measures, dtype=np.float64)
    if table.ndim != 3 or not table.size:
        raise UsageError(f"representations must be (n, measures, samples), not {table.shape}")
    table = np.where(np.isfinite(table), table, np.nan)
    made = np.full_like(table, np.nan)
    for place in range(table.shape[1]):
        own = table[:, place]
        known = own[np.isfinite(own)]
        if known.size:
            low, middle, high = np.percentile(known, (25, 50, 75))
            # Values that differ only by rounding count as equal.
            deviation = max((high - low) / NORMAL_RANGE, 1e-9 * abs(middle), np.finfo(np.float64).tiny)
            made[:, place] = ((own - middle) / deviation).clip(-CLIP, CLIP)
    return made.reshape(len(table), -1)


def distances(found: ArrayLike) -> Array:
    """Compute the root mean square difference of each two vectors: (n, m) -> (n, n).

    It is in standard deviations, whatever the number of samples. Entries that are NaN in either vector are left out
    of the mean; two vectors that share no entry get the largest distance of all.

    Raises:
        UsageError: no two vectors share an entry.
    """
    table = np.asarray(found, dtype=np.float64)
    made: Array = nan_euclidean_distances(table) / np.sqrt(table.shape[1])
    if np.isnan(made).all():
        raise UsageError("no representation has a measure that is a number")
    made = np.where(np.isnan(made), np.nanmax(made), made)
    made = (made + made.T) / 2
    np.fill_diagonal(made, 0.0)
    return made


def scaling(apart: ArrayLike) -> tuple[Array, tuple[float, float]]:
    """Map distances (n, n) to the plane by classical multidimensional scaling.

    Distances that no points can have (from vectors with NaN) give negative eigenvalues, which are left out.

    Returns:
        Points (n, 2), and the share of each axis in the sum of positive eigenvalues.

    Source: Torgerson, "Multidimensional scaling", 1952.
    """
    squared = np.asarray(apart, dtype=np.float64) ** 2
    centred = squared - squared.mean(0) - squared.mean(1)[:, None] + squared.mean()
    values, axes = np.linalg.eigh(-centred / 2)
    # Largest first.
    order = np.argsort(values)[::-1]
    values, axes = values[order].clip(0), axes[:, order]
    points = np.zeros((len(squared), 2))
    shown = min(2, len(values))
    points[:, :shown] = axes[:, :shown] * np.sqrt(values[:shown])
    # The sign of each axis is chosen so that its farthest point is positive.
    far = points[np.abs(points).argmax(0), [0, 1]]
    points *= np.where(far < 0, -1.0, 1.0)
    total = values.sum()
    shares = [float(value / total) if total > 0 else float("nan") for value in values[:2]]
    return points, (shares[0], shares[1] if len(shares) > 1 else 0.0)


def tree(apart: ArrayLike) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """Find a minimum spanning tree of distances (n, n): n - 1 pairs and their distances, by length."""
    table = np.asarray(apart, dtype=np.float64)
    above = np.triu_indices(len(table), 1)
    # The tree depends only on the order of the distances; ranks are used because SciPy takes zero as no link.
    ranks = np.zeros_like(table)
    ranks[above] = rankdata(table[above], method="ordinal")
    found = minimum_spanning_tree(ranks).tocoo()
    pairs = sorted(
        (float(table[i, j]), int(min(i, j)), int(max(i, j)))
        for i, j in zip(found.row, found.col, strict=True)
    )
    return tuple((i, j) for _, i, j in pairs), tuple(length for length, _, _ in pairs)


def mapped(apart: ArrayLike) -> Map:
    """Make a map of distances (n, n) with the links of the minimum spanning tree."""
    points, explained = scaling(apart)
    links, lengths = tree(apart)
    return Map(points, explained, links, lengths)


def umap_points(apart: ArrayLike, seed: int) -> Array | None:
    """Embed distances (n, n) in the plane (n, 2) by UMAP; None if `umap` is not installed or n < 4.

    Source: McInnes et al., arXiv 1802.03426.
    """
    table = np.asarray(apart, dtype=np.float64)
    if len(table) < 4 or importlib.util.find_spec("umap") is None:
        return None
    with warnings.catch_warnings():
        # Warnings that distances have no inverse transform, and that a seed means one thread.
        warnings.simplefilter("ignore")
        return _embedded(table, seed)


def _embedded(table: Array, seed: int) -> Array:
    umap: Any = importlib.import_module("umap")
    fit = umap.UMAP(
        metric="precomputed",
        n_neighbors=min(NEIGHBOURS, len(table) - 1),
        init="random",  # the spectral one fails on few points
        random_state=seed,
        n_jobs=1,
    )
    found: Array = np.asarray(fit.fit_transform(table), dtype=np.float64)
    return found


def between(apart: ArrayLike, criteria: ArrayLike, ratios: ArrayLike) -> tuple[tuple[str, ...], Array]:
    """Compute the distance between criteria: the mean distance of their models at equal ratio.

    Args:
        apart: (m, m) distances of models.
        criteria: (m,) names; a criterion has one model per ratio.
        ratios: (m,) numbers; a model with NaN (the dense one) counts at every ratio.

    Returns:
        The k names in the order given, and (k, k) means; NaN where two criteria share no ratio, 0 on the diagonal.
    """
    table, names = np.asarray(apart, dtype=np.float64), np.asarray(criteria)
    shares = np.asarray(ratios, dtype=np.float64)
    order = tuple(dict.fromkeys(names.tolist()))
    made = np.full((len(order), len(order)), np.nan)
    for i, first in enumerate(order):
        made[i, i] = 0.0
        for j, second in enumerate(order[:i]):
            one, two = np.flatnonzero(names == first), np.flatnonzero(names == second)
            equal = (shares[one][:, None] == shares[two]) | np.isnan(shares[one][:, None] + shares[two])
            if equal.any():
                made[i, j] = made[j, i] = table[np.ix_(one, two)][equal].mean()
    return order, made
