"""How much compression a model bears: four ways to say where its accuracy breaks, each with its evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import make_smoothing_spline

from leanfront.core.audit.kinds.limits.breakpoints import LEVEL, Breakpoint, breakpoint_of
from leanfront.core.audit.kinds.limits.curves import Curve, Floats, crossing, first_crossing

DELTA = 0.005
"""Accuracy that may be lost."""
SENSITIVITY = 1.0
"""Kneedle's S."""
FEWEST = 6
"""Points of a knee and of a curvature."""
STEEPER, DEVIATIONS = 5.0, 2.0
"""A fall is abrupt from this ratio of slopes on, and real beyond this many standard deviations."""
FINE = 401
"""Places at which a smooth curve's curvature is taken."""
ABRUPT, GRADUAL, NOT_REACHED = "abrupt", "gradual", "not reached"


@dataclass(frozen=True)
class Potential:
    """Prune potential: how far one may go without losing more than delta.

    Args:
        value: largest ratio with a loss of at most delta, accuracy interpolated linearly; 0 where the first step
            loses more and none after it less.
        unbroken: largest ratio up to which no loss is larger: less than `value` where accuracy recovers.
        delta: the loss, a share of samples.
        reached: whether any ratio of the curve loses more than delta.
        text: what to know of it, for people; empty where there is nothing.
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
        value: its ratio, one of the curve's; None where there is none.
        distance: by how much the normalised curve lies above its chord there.
        reason: why there is none.
    """

    value: float | None
    distance: float | None
    reason: str = ""


@dataclass(frozen=True)
class Bend:
    """Where a curve bends most downwards.

    Args:
        value: its ratio; None where there is none.
        curvature: of the normalised, smoothed curve there, 1 / unit.
        reason: why there is none.
    """

    value: float | None
    curvature: float | None
    reason: str = ""


@dataclass(frozen=True)
class Limits:
    """All that is said of one curve.

    Args:
        verdict: ``abrupt``, ``gradual`` or ``not reached``.
        reason: what decided.
        drop: how much accuracy is lost along the curve, by the regression.
        noise: standard deviation that the drop is compared with: between seeds, or around the regression.
        potential, knee, segmented, curvature: the four ways.
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
        """The ratio where accuracy breaks: the breakpoint, where there is one, or else the prune potential; None
        where it never does."""
        if self.verdict == NOT_REACHED:
            return None
        return self.segmented.value if self.segmented.exists else self.potential.value


def limits(curve: Curve, *, delta: float = DELTA, seed: int = 0) -> Limits:
    """Locate the threshold of a curve by every way, and say of what kind it is.

    The accuracy falls at all (else ``not reached``) where the regression finds a breakpoint or a falling line, both
    at the level .05, and falls by more than two standard deviations of a seed. The fall is ``abrupt`` where after a
    breakpoint accuracy falls at least five times as fast as before it, and ``gradual`` otherwise.

    Args:
        curve: of accuracy; with fewer than `FEWEST` points only the prune potential is known.
        delta: loss that the prune potential allows.
        seed: of resampling.
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
    """The largest ratio whose accuracy is at most delta below the first point's.

    Args:
        curve: its first point is the dense model.
        delta: absolute.

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
        # Within the first step nothing was measured: a line through it is no evidence.
        return Potential(0.0, 0.0, delta, True, f"the first step, to {x[1]:g}, loses more already")
    if int(bad[0]) == 1:
        unbroken = 0.0
    text = f"accuracy is below it at {x[bad[0]]:g} and comes back" if bad[0] < good else ""
    return Potential(value, unbroken, delta, True, text)


def potentials(ratios: ArrayLike, draws: Floats, *, delta: float = DELTA) -> Floats:
    """The prune potential of each of many curves on the same ratios.

    Args:
        ratios: (n,).
        draws: (b, n) accuracies.
        delta: absolute.

    Returns:
        (b,).
    """
    own = tuple(np.asarray(ratios, dtype=np.float64).tolist())
    return np.asarray([potential(Curve(own, tuple(row.tolist())), delta=delta).value for row in draws])


def knee(curve: Curve, *, sensitivity: float = SENSITIVITY) -> Knee:
    """Kneedle for a falling concave curve, not smoothed: the last point that is a knee.

    Both axes are normalised to [0, 1] and the ratios mirrored, so that the curve rises. A local maximum of
    what it lies above its chord is a knee once that falls by S times the mean step before the next maximum.

    Args:
        curve: at least `FEWEST` points.
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
            # A minimum before the fall was deep enough: the maximum was none.
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
    """The place of the largest downward curvature -y'' / (1 + y'^2)^1.5 with both axes normalised to [0, 1].

    The curve is a cubic smoothing spline through the points; how smooth is chosen by generalised cross-validation.

    Args:
        curve: at least `FEWEST` points.

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
