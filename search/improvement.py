"""Hypervolume improvement of many candidates over one front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leanfront.core.objectives import hypervolume

Floats = NDArray[np.float64]


class Improvement:
    """Computes the volume that points add to the hypervolume of a front.

    All values are gains over the reference: the volume lies between 0 and the points, and larger is better.

    Args:
        values: (m,) gains of the front in the metric.
        gains: (m, k) gains of the front in the costs.
    """

    def __init__(self, values: Floats, gains: Floats) -> None:
        inside = (values > 0) & (gains > 0).all(axis=1)
        self._values, self._gains = values[inside], gains[inside]
        if gains.shape[1] > 2:
            return
        # In the plane of the costs, the height of the front is constant on the cells between its members' gains.
        both = (
            self._gains if gains.shape[1] == 2 else np.column_stack([self._gains, np.ones(len(self._gains))])
        )
        self._edges = [np.unique(np.append(0.0, both[:, axis])) for axis in (0, 1)]
        heights = np.zeros((len(self._edges[0]), len(self._edges[1])))
        rows, columns = (np.searchsorted(self._edges[axis], both[:, axis]) for axis in (0, 1))
        np.maximum.at(heights, (rows, columns), self._values)
        heights = np.maximum.accumulate(heights[::-1], axis=0)[::-1]
        heights = np.maximum.accumulate(heights[:, ::-1], axis=1)[:, ::-1]
        # Cell (i, j) lies below edges i + 1 and j + 1; beyond the last edge the height is 0.
        self._heights = np.zeros_like(heights)
        self._heights[:-1, :-1] = heights[1:, 1:]
        # Area below the front in each row, up to each edge.
        self._below = np.zeros_like(heights)
        self._below[:, 1:] = np.cumsum(self._heights[:, :-1] * np.diff(self._edges[1]), axis=1)

    def of(self, values: Floats, gains: Floats) -> Floats:
        """Compute the volume that each candidate alone would add.

        Args:
            values: (n, s) gains in the metric, s cases per candidate.
            gains: (n, k) gains in the costs.

        Returns:
            (n, s) volumes.
        """
        if gains.shape[1] > 2:
            return self._by_difference(values, gains)
        both = gains if gains.shape[1] == 2 else np.column_stack([gains, np.ones(len(gains))])
        cases = values.shape[1]
        height = np.maximum(values, 0.0).ravel()
        depth = np.repeat(both[:, 1], cases)
        lower, upper = self._edges[0], np.append(self._edges[0][1:], np.inf)
        widths = np.maximum(np.minimum(both[:, :1], upper) - lower, 0.0)
        edges = self._edges[1]
        last = np.maximum(np.searchsorted(edges, depth, side="right") - 1, 0)
        beyond = np.maximum(depth - edges[last], 0.0)
        volumes = np.zeros(len(height))
        for row, cells in enumerate(self._heights):
            # The front falls along a row: a candidate is above it from some cell up to its own depth.
            first = np.minimum(np.searchsorted(-cells, -height, side="right"), last)
            below = self._below[row]
            whole = height * (edges[last] - edges[first]) - (below[last] - below[first])
            rest = beyond * np.maximum(height - cells[last], 0.0)
            volumes += np.repeat(widths[:, row], cases) * (whole + rest)
        return volumes.reshape(values.shape)

    def _by_difference(self, values: Floats, gains: Floats) -> Floats:
        corner = np.zeros(1 + gains.shape[1])
        front = -np.column_stack([self._values, self._gains])
        before = hypervolume(front, corner)
        volumes = np.zeros_like(values)
        for row, case in np.ndindex(*values.shape):
            if values[row, case] > 0 and (gains[row] > 0).all():
                point = -np.append(values[row, case], gains[row])
                volumes[row, case] = hypervolume(np.vstack([front, point]), corner) - before
        return volumes
