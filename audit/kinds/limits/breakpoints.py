"""Breakpoints of curves: regression on two lines that meet, a test for the second line, and an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from leanfront.core.audit.kinds.limits.curves import Curve, Floats

FEWEST = 6
"""Least number of points: a line and a bend have four parameters."""
GRID = 201
"""Number of positions at which a bend is tried, besides the ratios themselves."""
DRAWS = 500
"""Number of resamples for an interval; a p value uses twice as many curves without a bend."""
LEVEL = 0.05
TINY = 1e-12
"""Share of a curve's height below which a value is rounding."""
COLLAPSED, FLOOR = 0.2, 0.05
"""A curve that loses this much accuracy is cut after the first point from which on all points are within `FLOOR` of
the lowest, as a share of the loss: its floor has no information about where the fall begins."""


@dataclass(frozen=True)
class Breakpoint:
    """A fit of two lines that meet, the second falling more steeply, compared with one line.

    Args:
        value: ratio at which they meet; None if there are too few points.
        low, high: its 95% bootstrap interval.
        exists: whether two lines are better than one: p <= `LEVEL`.
        p: p value of the hypothesis of one line.
        before, after: slopes, accuracy by ratio.
        slope_ratio: after / before, infinite if accuracy does not fall before; NaN without a value.
        drop: fall of the fit from its start to its lowest point.
        slope: slope of the one line.
        slope_p: two-sided p value of slope 0.
        deviation: standard deviation of the points from the better fit, corrected for degrees of freedom.
        points: number of points used; the floor of a collapsed curve is left out.
        reason: why there is no value; else empty.
    """

    value: float | None
    low: float | None
    high: float | None
    exists: bool
    p: float
    before: float
    after: float
    slope_ratio: float
    drop: float
    slope: float
    slope_p: float
    deviation: float
    points: int
    reason: str = ""


def breakpoint_of(curve: Curve, *, seed: int = 0) -> Breakpoint:
    """Fit accuracy = a + b x + c max(0, x - s), c <= 0, by least squares over s as well.

    The p value compares the share of the line's squared error that the bend explains with that of straight lines
    under normal noise of one variance, drawn on the same ratios: the statistic does not depend on the line or the
    noise, so the Monte Carlo test is exact. The interval is a residual bootstrap: residuals, centred and widened for
    the four fitted parameters and for the small sample (t quantile over normal quantile), are drawn with replacement,
    added to the fit, and fitted again.

    Args:
        curve: curve of at least `FEWEST` points; with fewer, the result has no value.
        seed: seed of every random draw.

    Source: Davies, "Hypothesis testing when a nuisance parameter is present only under the alternative", Biometrika
    1987 (the supremum); Muggeo, "Estimating regression models with unknown break-points", Statistics in Medicine 2003
    (the model); Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 9.
    """
    x, y = _above_floor(curve)
    count = len(x)
    if count < FEWEST:
        reason = f"needs {FEWEST} points, there are {count}"
        nan = math.nan
        return Breakpoint(
            None, None, None, False, nan, nan, nan, nan, float(y[0] - y.min()), nan, nan, nan, count, reason
        )
    hinges = _Hinges(x)
    straight, gains, coefficients = hinges.fit(y[None])
    best = int(gains[0].argmax())
    total, gain = float(straight[0] @ straight[0]), float(gains[0, best])
    height = max(float(np.abs(y).max()), 1e-6)
    share = 0.0 if total <= count * (TINY * height) ** 2 else min(gain / total, 1.0)
    null = _null(tuple(x.tolist()), seed)
    p = float((1 + np.count_nonzero(null >= share)) / (1 + len(null)))
    exists = share > 0 and p <= LEVEL
    bend = np.maximum(x - hinges.places[best], 0.0) * coefficients[0, best]
    before, start = np.polyfit(x, y - bend, 1)
    fitted = start + before * x + bend
    after = before + coefficients[0, best]
    line = stats.linregress(x, y)
    lines = line.intercept + line.slope * x
    used, parameters = (fitted, 4) if exists else (lines, 2)
    deviation = math.sqrt(float(np.square(y - used).sum()) / (count - parameters))
    low, high = _interval(hinges, fitted, y - fitted, seed)
    return Breakpoint(
        value=float(hinges.places[best]),
        low=low,
        high=high,
        exists=exists,
        p=p,
        before=float(before),
        after=float(after),
        slope_ratio=_ratio(float(before), float(after), TINY * height),
        drop=float(used[0] - used.min()),
        slope=float(line.slope),
        slope_p=float(line.pvalue) if math.isfinite(line.pvalue) else 1.0,
        deviation=deviation,
        points=count,
    )


class _Hinges:
    """The bends max(0, x - s) for every s, without the part that a line explains."""

    def __init__(self, x: Floats) -> None:
        self.places = np.unique(np.concatenate([np.linspace(x[1], x[-2], GRID), x[1:-1]]))
        self._lines, _ = np.linalg.qr(np.column_stack([np.ones_like(x), x]))
        self._bends = self._rest(np.maximum(x - self.places[:, None], 0.0))
        self._norms = np.square(self._bends).sum(axis=1)

    def fit(self, curves: Floats) -> tuple[Floats, Floats, Floats]:
        """Fit curves (b, n) by a line and a bend at each place.

        Returns:
            The residuals of the line (b, n), the reduction of their sum of squares by each bend (b, places), and
            the coefficient of the bend (b, places).
        """
        rest = self._rest(curves)
        coefficients = np.minimum(rest @ self._bends.T / self._norms, 0.0)
        return rest, np.square(coefficients) * self._norms, coefficients

    def _rest(self, rows: Floats) -> Floats:
        found: Floats = rows - (rows @ self._lines) @ self._lines.T
        return found


@lru_cache(maxsize=64)
def _null(x: tuple[float, ...], seed: int) -> Floats:
    """Draw the share that a bend explains of curves without a bend."""
    drawn = np.random.default_rng([seed, 1]).standard_normal((2 * DRAWS, len(x)))
    rest, gains, _ = _Hinges(np.asarray(x)).fit(drawn)
    shares: Floats = gains.max(axis=1) / np.square(rest).sum(axis=1)
    return shares


def _interval(hinges: _Hinges, fitted: Floats, residuals: Floats, seed: int) -> tuple[float, float]:
    count, freedom = len(fitted), len(fitted) - 4
    widened = math.sqrt(count / freedom) * stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    centred = (residuals - residuals.mean()) * widened
    picks = np.random.default_rng([seed, 2]).integers(count, size=(DRAWS, count))
    _, gains, _ = hinges.fit(fitted + centred[picks])
    found = hinges.places[gains.argmax(axis=1)]
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    # A position is known only up to the step of the grid.
    step = float(np.diff(hinges.places).max())
    return max(low - step, hinges.places[0]), min(high + step, hinges.places[-1])


def _above_floor(curve: Curve) -> tuple[Floats, Floats]:
    x, y = curve.x, curve.y
    fall = y[0] - y.min()
    if fall < COLLAPSED:
        return x, y
    above = np.flatnonzero(y > y.min() + FLOOR * fall)
    kept = max(int(above[-1]) + 2, min(FEWEST, len(x)))
    return x[:kept], y[:kept]


def _ratio(before: float, after: float, tiny: float) -> float:
    if after >= -tiny:
        return 0.0
    return math.inf if before >= -tiny else after / before
