"""Where a curve begins to fall: regression on two lines that meet, whether there are two, how sure the place is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from leanfront.core.audit.kinds.limits.curves import Curve, Floats

FEWEST = 6
"""Points: a line and a bend have four parameters."""
GRID = 201
"""Places at which a bend is tried, beside the ratios themselves."""
DRAWS = 500
"""Resamples behind an interval, and curves without a bend behind a p value."""
LEVEL = 0.05
TINY = 1e-12
"""Of a curve's height: what is less is rounding."""
COLLAPSED, FLOOR = 0.2, 0.05
"""A curve that loses this much accuracy is cut after the first point from which on all are this close to its lowest,
as a part of the loss: a model that cannot get worse says nothing of where it began to."""


@dataclass(frozen=True)
class Breakpoint:
    """Two lines that meet, the second steeper downwards, beside one line.

    Args:
        value: ratio at which they meet; None where there are too few points.
        low, high: its 95% bootstrap interval.
        exists: whether two lines are better than one: p <= `LEVEL`.
        p: of the hypothesis of one line.
        before, after: slopes, accuracy by ratio.
        slope_ratio: after / before, infinite where accuracy does not fall before; NaN without a value.
        drop: how much the fit falls from its start to its lowest point.
        slope: of the one line.
        slope_p: two-sided p value of its being 0.
        deviation: of the points from the better fit of the two, degrees of freedom allowed for.
        points: used, from the first: a collapsed curve's floor is left out.
        reason: why there is no value; empty otherwise.
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
    the four fitted parameters and for how few they are (t quantile over normal quantile), are drawn with replacement
    onto the fit, which is fitted again.

    Args:
        curve: at least `FEWEST` points.
        seed: of all that is drawn.

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
    """The bends max(0, x - s) for every s, what a line explains of them taken off."""

    def __init__(self, x: Floats) -> None:
        self.places = np.unique(np.concatenate([np.linspace(x[1], x[-2], GRID), x[1:-1]]))
        self._lines, _ = np.linalg.qr(np.column_stack([np.ones_like(x), x]))
        self._bends = self._rest(np.maximum(x - self.places[:, None], 0.0))
        self._norms = np.square(self._bends).sum(axis=1)

    def fit(self, curves: Floats) -> tuple[Floats, Floats, Floats]:
        """(b, n) curves -> what a line leaves of them (b, n), what a bend at each place takes of its square, and
        the bend's coefficient, both (b, places)."""
        rest = self._rest(curves)
        coefficients = np.minimum(rest @ self._bends.T / self._norms, 0.0)
        return rest, np.square(coefficients) * self._norms, coefficients

    def _rest(self, rows: Floats) -> Floats:
        found: Floats = rows - (rows @ self._lines) @ self._lines.T
        return found


@lru_cache(maxsize=64)
def _null(x: tuple[float, ...], seed: int) -> Floats:
    """Shares that a bend explains where there is none."""
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
    # A place is only known up to the step of the grid.
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
