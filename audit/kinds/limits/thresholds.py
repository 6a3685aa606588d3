"""Thresholds of compression: four ways to find where accuracy breaks, each with its evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import make_smoothing_spline

from leanfront.core.audit.kinds.limits.breakpoints import LEVEL, Breakpoint, breakpoint_of
from leanfront.core.audit.kinds.limits.curves import Curve, Floats, crossing, first_crossing

DELTA = 0.005
"""Allowed loss of accuracy."""
SENSITIVITY = 1.0
"""Kneedle's S."""
FEWEST = 6
"""Least number of points for a knee and for a curvature."""
STEEPER, DEVIATIONS = 5.0, 2.0
"""Ratio of slopes from which a fall is abrupt, and standard deviations beyond which it is real."""
FINE = 401
"""Number of positions at which the curvature of a smooth curve is computed."""
ABRUPT, GRADUAL, NOT_REACHED = "abrupt", "gradual", "not reached"


@dataclass(frozen=True)
class Potential:
    """Prune potential: the largest ratio that loses at most delta.

    Args:
        value: largest ratio with a loss of at most delta, with accuracy interpolated linearly; 0 if every step
            loses more.
        unbroken: largest ratio up to which every loss is within delta; less than `value` if accuracy recovers.
        delta: the allowed loss, a share of samples.
        reached: whether any ratio of the curve loses more than delta.
        text: remark for readers, or ``""``.
    """

    value: float
    unbroken: float
    delta: float
    reached: bool
    text: str = ""


@dataclass(frozen=True)
class Knee:
    """The knee of a curve.

    Args:
        value: ratio of the knee, one of the curve's; None if there is none.
        distance: distance of the normalised curve above its chord there.
        reason: why there is no knee.
    """

    value: float | None
    distance: float | None
    reason: str = ""


@dataclass(frozen=True)
class Bend:
    """The strongest downward bend of a curve.

    Args:
        value: ratio of the bend; None if there is none.
        curvature: curvature of the normalised, smoothed curve there, 1 / unit.
        reason: why there is no bend.
    """

    value: float | None
    curvature: float | None
    reason: str = ""


@dataclass(frozen=True)
class Limits:
    """The thresholds of one curve.

    Args:
        verdict: ``abrupt``, ``gradual`` or ``not reached``.
        reason: reason of the verdict.
        drop: loss of accuracy along the curve, by the regression.
        noise: standard deviation to compare the drop with: between seeds, or around the regression.
        potential, knee, segmented, curvature: results of the four ways.
    """

    verdict: str
    reason: str
    drop: float
    noise: float
    potential: Potential
    knee: Knee
    segmented: Breakpoint
    curvature: Bend

    @property
    def cliff(self) -> float | None:
        """Ratio at which accuracy breaks: the breakpoint, or else the prune potential; None if it never breaks."""
        if self.verdict == NOT_REACHED:
            return None
        return self.segmented.value if self.segmented.exists else self.potential.value


def limits(curve: Curve, *, delta: float = DELTA, seed: int = 0) -> Limits:
    """Find the thresholds of a curve by all four ways, and judge how abrupt the fall is.

    The accuracy falls at all (else ``not reached``) where the regression finds a breakpoint or a falling line, both
    at the level .05, and falls by more than two standard deviations of a seed. The fall is ``abrupt`` where after a
    breakpoint accuracy falls at least five times as fast as before it, and ``gradual`` otherwise.

    Args:
        curve: curve of accuracy; with fewer than `FEWEST` points only the prune potential is known.
        delta: allowed loss of the prune potential.
        seed: seed of resampling.
    """
    segmented = breakpoint_of(curve, seed=seed)
    noise = curve.noise if curve.noise is not None else segmented.deviation
    verdict, reason = _verdict(segmented, noise, len(curve))
    flat = verdict == NOT_REACHED and not segmented.reason
    return Limits(
        verdict,
        reason,
        segmented.drop,
        noise,
        potential(curve, delta=delta),
        Knee(None, None, reason) if flat else knee(curve),
        segmented,
        Bend(None, None, reason) if flat else curvature(curve),
    )


def _verdict(found: Breakpoint, noise: float, points: int) -> tuple[str, str]:
    if found.reason:
        return NOT_REACHED, f"a regression {found.reason}"
    falling = found.slope < 0 and found.slope_p <= LEVEL
    if not (found.exists or falling):
        return NOT_REACHED, f"neither a breakpoint (p = {found.p:.3f}) nor a falling line"
    if not found.drop > DEVIATIONS * noise:
        return NOT_REACHED, f"a drop of {found.drop:.4f} is within {DEVIATIONS:g} deviations of {noise:.4f}"
    if not found.exists:
        return GRADUAL, f"no breakpoint (p = {found.p:.3f})"
    steeper = f"{found.slope_ratio:.1f} times as fast after {found.value:.3f} as before"
    return (ABRUPT if found.slope_ratio >= STEEPER else GRADUAL), steeper


def potential(curve: Curve, *, delta: float = DELTA) -> Potential:
    """Find the largest ratio whose accuracy is at most delta below that of the first point.

    Args:
        curve: curve whose first point is the dense model.
        delta: allowed absolute loss.

    Source: Liebenwein et al., "Lost in pruning", MLSys 2021, definition 1, on ratios between the measured ones too.
    """
    x, margin = curve.x, curve.y - curve.y[0] + delta
    bad = np.flatnonzero(margin < -1e-12)
    if not len(bad):
        return Potential(
            float(x[-1]), float(x[-1]), delta, False, "not reached: the whole curve is within it"
        )
    unbroken = first_crossing(curve, delta)
    good = int(np.flatnonzero(margin >= -1e-12)[-1])
    value = float(x[-1]) if good == len(x) - 1 else crossing(x, margin, good)
    if good == 0:
        # Nothing was measured within the first step, so a line through it is no evidence.
        return Potential(0.0, 0.0, delta, True, f"the first step, to {x[1]:g}, loses more already")
    if int(bad[0]) == 1:
        unbroken = 0.0
    text = f"accuracy is below it at {x[bad[0]]:g} and comes back" if bad[0] < good else ""
    return Potential(value, unbroken, delta, True, text)


def potentials(ratios: ArrayLike, draws: Floats, *, delta: float = DELTA) -> Floats:
    """Compute the prune potentials (b,) of many curves on the same ratios.

    Args:
        ratios: (n,) ratios.
        draws: (b, n) accuracies.
        delta: allowed absolute loss.
    """
    own = tuple(np.asarray(ratios, dtype=np.float64).tolist())
    return np.asarray([potential(Curve(own, tuple(row.tolist())), delta=delta).value for row in draws])


def knee(curve: Curve, *, sensitivity: float = SENSITIVITY) -> Knee:
    """Find the last knee of a falling concave curve by Kneedle, without smoothing.

    Both axes are normalised to [0, 1] and the ratios mirrored, so that the curve rises. A local maximum of its
    distance above the chord is a knee if the distance falls by S times the mean step before the next maximum.

    Args:
        curve: curve of at least `FEWEST` points; with fewer, there is no knee.
        sensitivity: S.

    Source: Satopaa et al., "Finding a kneedle in a haystack", ICDCS workshops 2011.
    """
    if len(curve) < FEWEST:
        return Knee(None, None, f"needs {FEWEST} points, there are {len(curve)}")
    height = np.ptp(curve.y)
    if not height > 0:
        return Knee(None, None, "the curve is flat")
    x = ((curve.x[-1] - curve.x) / np.ptp(curve.x))[::-1]
    above = ((curve.y - curve.y.min()) / height)[::-1] - x
    allowed = sensitivity * float(np.diff(x).mean())
    top: int | None = None
    for place in range(1, len(x)):
        last = place == len(x) - 1
        if not last and above[place - 1] <= above[place] >= above[place + 1]:
            top = place
        elif top is not None and not last and above[place - 1] >= above[place] <= above[place + 1]:
            # A minimum before the fall was deep enough: the maximum is no knee.
            if above[place] < above[top] - allowed:
                break
            top = None
        if top is not None and above[place] < above[top] - allowed:
            break
    else:
        top = None
    if top is None or not above[top] > 0:
        return Knee(None, None, "the curve does not lie above its chord anywhere by enough")
    return Knee(curve.ratios[len(x) - 1 - top], float(above[top]))


def curvature(curve: Curve) -> Bend:
    """Find the largest downward curvature -y'' / (1 + y'^2)^1.5, with both axes normalised to [0, 1].

    The curve is a cubic smoothing spline through the points, with smoothness by generalised cross-validation.

    Args:
        curve: curve of at least `FEWEST` points; with fewer, there is no bend.

    Source: Wahba, "Spline models for observational data", 1990, for the spline.
    """
    if len(curve) < FEWEST:
        return Bend(None, None, f"needs {FEWEST} points, there are {len(curve)}")
    height = np.ptp(curve.y)
    if not height > 0:
        return Bend(None, None, "the curve is flat")
    x = (curve.x - curve.x[0]) / np.ptp(curve.x)
    spline = make_smoothing_spline(x, (curve.y - curve.y.min()) / height)
    fine = np.linspace(0, 1, FINE)
    bent = -spline(fine, 2) / (1 + spline(fine, 1) ** 2) ** 1.5
    best = int(bent.argmax())
    if not bent[best] > 1e-6:
        return Bend(None, None, "the curve bends downwards nowhere")
    return Bend(float(curve.x[0] + fine[best] * np.ptp(curve.x)), float(bent[best]))
