"""Geometries of the same samples under many models and corruptions, and their summaries."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

BINS = 20
"""Number of bins of a histogram."""


@dataclass(frozen=True)
class Geometries:
    """Measures of N samples under M models and W ways (no corruption, or one at a severity).

    Args:
        measures: (M, W, 3, N) angle, norm, margin; NaN where undefined.
        predicted: (M, W, N) predicted classes.
        labels: (N,) true classes.
        classes: C, the number of classes.
    """

    measures: Array
    predicted: Integers
    labels: Integers
    classes: int

    @property
    def accuracy(self) -> Array:
        """Accuracies (M, W)."""
        found: Array = (self.predicted == self.labels).mean(axis=2)
        return found

    @property
    def extended(self) -> Array:
        """The measures and margin / |x|, (M, W, 4, N)."""
        norm, margin = self.measures[:, :, 1], self.measures[:, :, 2]
        relative = np.divide(margin, norm, out=np.full_like(norm, np.nan), where=norm > 0)
        return np.concatenate([self.measures, relative[:, :, None]], axis=2)

    def edges(self) -> Array:
        """Return the edges of the histograms (3, BINS + 1), from the least to the largest value of each measure."""
        flat = np.moveaxis(self.measures, 2, 0).reshape(3, -1)
        ends = []
        for row in flat:
            known = row[np.isfinite(row)]
            low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
            ends.append(np.linspace(low, high if high > low else low + 1, BINS + 1))
        return np.stack(ends)

    def histograms(self) -> Integers:
        """Count the samples between `edges`, (M, W, 3, BINS); NaN is in no bin."""
        models, ways = self.measures.shape[:2]
        edges = self.edges()
        found = np.zeros((models, ways, 3, BINS), dtype=np.int64)
        for place in np.ndindex(models, ways, 3):
            values = self.measures[place]
            found[place] = np.histogram(values[np.isfinite(values)], bins=edges[place[2]])[0]
        return found

    def class_means(self, shown: list[int]) -> Array:
        """Return the mean measures of k classes (M, W, k, 3); NaN for a class without samples."""
        return np.stack([_mean(self.measures[..., self.labels == label]) for label in shown], axis=2)

    def confusion(self, shown: list[int], way: int = 0) -> Integers:
        """Count the samples of each of k classes (rows) by predicted class, (M, k, k)."""
        found = np.zeros((len(self.measures), len(shown), len(shown)), dtype=np.int64)
        for model, predicted in enumerate(self.predicted[:, way]):
            for row, label in enumerate(shown):
                of = predicted[self.labels == label]
                found[model, row] = [(of == other).sum() for other in shown]
        return found

    def confused(self, most: int) -> list[int]:
        """Return at most `most` classes that take part in most mistakes of all models and ways, by number."""
        if self.classes <= most:
            return list(range(self.classes))
        wrong = self.predicted != self.labels
        truth = np.broadcast_to(self.labels, self.predicted.shape)
        counts = np.bincount(truth[wrong], minlength=self.classes)
        counts = counts + np.bincount(self.predicted[wrong], minlength=self.classes)
        return sorted(np.argsort(-counts, kind="stable")[:most].tolist())


def means(values: Array) -> Array:
    """Compute means over the last axis without NaN; NaN if all values are NaN."""
    return _mean(values)


def deviations(values: Array) -> Array:
    """Compute standard deviations over the last axis without NaN; NaN if all values are NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of no values
        found: Array = np.nanstd(values, axis=-1)
    return found


def _mean(values: Array) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of no values
        found: Array = np.nanmean(values, axis=-1)
    return found


def explained(values: Array, groups: list[float]) -> float:
    """Compute the share of the variance of values (n,) between groups (eta squared); NaN without any variance."""
    total = ((values - values.mean()) ** 2).sum()
    if not total > 0:
        return float("nan")
    names = np.asarray(groups)
    between = sum(
        (names == name).sum() * (values[names == name].mean() - values.mean()) ** 2 for name in set(groups)
    )
    return float(between / total)
