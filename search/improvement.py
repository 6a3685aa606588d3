"""Hypervolume improvement of many candidates over one front, in gains: what each would add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from objectives import hypervolume

Floats = NDArray[np.float64]


class Improvement:
    """What points would add to the hypervolume of a front.

    All values are gains over the reference: the volume lies between 0 and the points, larger is better.

    Args:
        values: (m,) the front's gains in the metric.
        gains: (m, k) its gains in the costs.
    """

    def __init__(self, values: Floats, gains: Floats) -> None:
        inside = (values > 0) & (gains > 0).all(axis=1)
        self._values, self._gains = values[inside], gains[inside]
        if gains.shape[1] > 2:
            return
        # In the plane of the costs, the front's height is constant on the cells that its members' gains cut.
        both = self._gains if gains.shape[1] == 2 else np.column_stack([self._gains, np.ones(len(self._gains))])
        self._edges = [np.unique(np.append(0.0, both[:, axis])) for axis in (0, 1)]
        heights = np.zeros((len(self._edges[0]), len(self._edges[1])))
        rows, columns = (np.searchsorted(self._edges[axis], both[:, axis]) for axis in (0, 1))
        np.maximum.at(heights, (rows, columns), self._values)
        heights = np.maximum.accumulate(heights[::-1], axis=0)[::-1]
        heights = np.maximum.accumulate(heights[:, ::-1], axis=1)[:, ::-1]
        # Cell (i, j) lies below edges i + 1 and j + 1; beyond the last edge there is nothing.
        self._heights = np.zeros_like(heights)
        self._heights[:-1, :-1] = heights[1:, 1:]

    def of(self, values: Floats, gains: Floats) -> Floats:
        """The volumes that candidates would add, each alone.

        Args:
            values: (n, s) gains in the metric, s cases of each candidate.
            gains: (n, k) gains in the costs.

        Returns:
            (n, s) volumes.
        """
        if gains.shape[1] > 2:
            return self._by_difference(values, gains)
        both = gains if gains.shape[1] == 2 else np.column_stack([gains, np.ones(len(gains))])
        widths, depths = (self._overlaps(axis, both[:, axis]) for axis in (0, 1))
        volumes = np.zeros_like(values)
        for case in range(values.shape[1]):
            height = np.maximum(values[:, case], 0.0)[:, None]
            for row, cells in enumerate(self._heights):
                reached = np.flatnonzero(widths[:, row])
                if len(reached):
                    above = np.maximum(height[reached] - cells, 0.0)
                    volumes[reached, case] += widths[reached, row] * np.einsum("nj,nj->n", above, depths[reached])
        return volumes

    def _overlaps(self, axis: int, gains: Floats) -> Floats:
        """(n, cells) length of each cell of an axis that lies below the candidates' gains."""
        lower = self._edges[axis]
        upper = np.append(lower[1:], np.inf)
        return np.maximum(np.minimum(gains[:, None], upper) - lower, 0.0)

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
