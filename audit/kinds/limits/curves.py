"""Curves of accuracy along an axis of compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanfront.errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A curve of accuracy against the compression ratio.

    Args:
        ratios: strictly ascending, 0 for the dense model.
        accuracies: accuracy in [0, 1] at each ratio; losses are relative to the first.
        deviations: standard deviation of each accuracy between seeds or resamples; None if unknown.

    Raises:
        UsageError: there are fewer than two points, ratios do not ascend, or values do not fit them.
    """

    ratios: tuple[float, ...]
    accuracies: tuple[float, ...]
    deviations: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("ratios", "accuracies", "deviations"):
            values = getattr(self, name)
            if values is None:
                continue
            found = np.asarray(values, dtype=np.float64)
            if found.ndim != 1 or len(found) != len(self.ratios) or not np.isfinite(found).all():
                raise UsageError(
                    f"a curve needs one finite number per ratio: {name} are {found.shape} for {len(self.ratios)}"
                )
            object.__setattr__(self, name, tuple(found.tolist()))
        if len(self.ratios) < 2 or (np.diff(self.ratios) <= 0).any():
            raise UsageError(f"a curve needs two or more ascending ratios, not {self.ratios}")
        if self.deviations is not None and min(self.deviations) < 0:
            raise UsageError(f"a standard deviation is 0 or more, not {min(self.deviations)}")

    def __len__(self) -> int:
        return len(self.ratios)

    @property
    def x(self) -> Floats:
        """The ratios (n,)."""
        return np.asarray(self.ratios, dtype=np.float64)

    @property
    def y(self) -> Floats:
        """The accuracies (n,)."""
        return np.asarray(self.accuracies, dtype=np.float64)

    @property
    def noise(self) -> float | None:
        """Standard deviation of one accuracy: the root of the mean variance over the ratios; None if unknown."""
        return None if self.deviations is None else float(np.sqrt(np.mean(np.square(self.deviations))))


def first_crossing(curve: Curve, delta: float) -> float:
    """Return the ratio at which the line through the points first loses more than delta, or else the last ratio.

    Args:
        curve: curve whose first point is the dense model.
        delta: absolute loss, 0 or more.
    """
    margin = curve.y - curve.y[0] + delta
    bad = np.flatnonzero(margin < -1e-12)
    return crossing(curve.x, margin, int(bad[0]) - 1) if len(bad) else curve.ratios[-1]


def crossing(x: Floats, margin: Floats, place: int) -> float:
    """Return where the line from a point within the loss to the next point, outside it, crosses the loss."""
    share = max(margin[place], 0.0) / (max(margin[place], 0.0) - margin[place + 1])
    return float(x[place] + share * (x[place + 1] - x[place]))
