"""Where accuracy breaks: planted breakpoints, closed forms, and another implementation of Kneedle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from leanfront.core.audit.kinds.limits.breakpoints import breakpoint_of
from leanfront.core.audit.kinds.limits.curves import Curve, first_crossing
from leanfront.core.audit.kinds.limits.thresholds import (
    ABRUPT,
    GRADUAL,
    NOT_REACHED,
    curvature,
    knee,
    limits,
    potential,
)
from leanfront.errors import UsageError

X = np.linspace(0, 0.9, 10)
SEEDS = 40


def _curve(y: np.ndarray, x: np.ndarray = X, deviation: float | None = None) -> Curve:
    return Curve(tuple(x), tuple(y), None if deviation is None else (deviation,) * len(x))


def _planted(place: float, steepness: float, noise: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 0.95 - 0.02 * X - steepness * np.maximum(X - place, 0) + noise * random.standard_normal(len(X))


@pytest.mark.parametrize(("noise", "known"), [(0.003, True), (0.02, True), (0.02, False)])
def test_planted_breakpoints_lie_in_their_interval(noise: float, known: bool) -> None:
    inside, abrupt = 0, 0
    for seed in range(SEEDS):
        place, steepness = np.random.default_rng([seed, 7]).uniform([0.3, 1.0], [0.7, 2.0])
        y = _planted(place, steepness, noise, seed)
        found = limits(_curve(y, deviation=noise if known else None))
        assert found.segmented.low is not None
        assert found.segmented.high is not None
        inside += found.segmented.low <= place <= found.segmented.high
        abrupt += found.verdict == ABRUPT
        assert found.segmented.high - found.segmented.low < 0.3
    assert inside >= 0.9 * SEEDS
    assert abrupt == SEEDS


@pytest.mark.parametrize("known", [True, False])
def test_flat_curves_are_not_reached(known: bool) -> None:
    noisy = [0.9 + 0.01 * np.random.default_rng(seed).standard_normal(len(X)) for seed in range(SEEDS)]
    found = [limits(_curve(y, deviation=0.01 if known else None)) for y in noisy]
    quiet = [each for each in found if each.verdict == NOT_REACHED]
    assert len(quiet) >= 0.9 * SEEDS
    assert all(
        each.knee.value is None and each.curvature.value is None and each.cliff is None for each in quiet
    )


@pytest.mark.parametrize("slope", [0.1, 0.3])
def test_p_values_of_straight_lines_are_uniform(slope: float) -> None:
    noise = np.random.default_rng(0).standard_normal((100, len(X)))
    p = np.asarray([breakpoint_of(_curve(0.9 - slope * X + 0.02 * each)).p for each in noise])
    # Binomial: 5 of 100 are expected below .05, and 50 below .5, give or take 5.
    assert (p <= 0.05).sum() <= 11
    assert 35 <= (p <= 0.5).sum() <= 65


def test_a_falling_line_is_gradual_and_an_exact_flat_line_is_nothing() -> None:
    assert limits(_curve(0.9 - 0.5 * X, deviation=0.005)).verdict == GRADUAL
    found = limits(_curve(np.full(10, 0.9)))
    assert found.verdict == NOT_REACHED
    assert not found.segmented.exists
    assert found.drop == pytest.approx(0, abs=1e-9)


def test_exact_breakpoints_have_their_slopes() -> None:
    found = breakpoint_of(_curve(0.9 - 0.1 * X - 0.7 * np.maximum(X - 0.5, 0)))
    assert found.exists
    assert found.value == pytest.approx(0.5, abs=1e-9)
    assert found.before == pytest.approx(-0.1)
    assert found.after == pytest.approx(-0.8)
    assert found.slope_ratio == pytest.approx(8)
    assert found.drop == pytest.approx(0.9 * 0.1 + 0.4 * 0.7)


def test_five_times_as_steep_is_abrupt_and_less_is_gradual() -> None:
    for after, verdict in ((0.52, ABRUPT), (0.48, GRADUAL)):
        y = 0.9 - 0.1 * X - (after - 0.1) * np.maximum(X - 0.5, 0)
        assert limits(_curve(y, deviation=0.01)).verdict == verdict


def test_a_drop_within_two_deviations_is_not_reached() -> None:
    y = 0.9 - 0.1 * np.maximum(X - 0.5, 0)
    assert limits(_curve(y, deviation=0.019)).verdict == ABRUPT
    assert limits(_curve(y, deviation=0.021)).verdict == NOT_REACHED


def test_upward_bends_are_no_breakpoints() -> None:
    rising = breakpoint_of(_curve(0.5 - 0.4 * X + 0.4 * np.maximum(X - 0.5, 0)))
    assert not rising.exists


def test_the_floor_of_a_collapsed_curve_says_nothing() -> None:
    y = np.asarray([0.95, 0.95, 0.95, 0.95, 0.95, 0.65, 0.35, 0.1, 0.1, 0.1])
    found = breakpoint_of(_curve(y))
    assert found.points == 8
    assert found.value == pytest.approx(0.4, abs=0.02)


def test_too_few_points_are_said_to_be() -> None:
    found = limits(_curve(np.asarray([0.9, 0.9, 0.2]), np.asarray([0, 0.5, 0.9])))
    assert found.verdict == NOT_REACHED
    assert "needs 6 points, there are 3" in found.reason
    assert found.potential.value == pytest.approx(0.5 + 0.4 * 0.005 / 0.7)
    assert found.knee.value is None


@pytest.mark.parametrize(
    ("accuracies", "value", "unbroken", "reached"),
    [
        ((0.9, 0.9, 0.899, 0.896), 0.6, 0.6, False),  # never
        ((0.9, 0.9, 0.89, 0.5), 0.2 + 0.2 * 0.5, 0.2 + 0.2 * 0.5, True),  # half way
        ((0.9, 0.8, 0.7, 0.6), 0.0, 0.0, True),  # the first step
        ((0.9, 0.9, 0.88, 0.9), 0.6, 0.25, True),  # it comes back
        ((0.9, 0.895, 0.8, 0.8), 0.2, 0.2, True),  # exactly delta
        ((0.9, 0.8, 0.9, 0.8), 0.41, 0.0, True),
    ],
)
def test_prune_potential(accuracies: tuple[float, ...], value: float, unbroken: float, reached: bool) -> None:
    found = potential(Curve((0.0, 0.2, 0.4, 0.6), accuracies))
    assert found.value == pytest.approx(value)
    assert found.unbroken == pytest.approx(unbroken)
    assert found.reached == reached
    assert found.text if value == 0 or not reached else True


def test_first_crossing_reads_the_first_step_too() -> None:
    assert first_crossing(Curve((0.0, 0.5), (0.9, 0.8)), 0.02) == pytest.approx(0.1)
    assert first_crossing(Curve((0.0, 0.5), (0.9, 0.89)), 0.02) == 0.5


def test_knees_are_those_of_kneed() -> None:
    kneed = pytest.importorskip("kneed")
    x, none = np.linspace(0, 1, 12), 0
    for seed in range(150):
        random = np.random.default_rng(seed)
        y = 0.95 - 0.9 * x ** random.uniform(1, 8) + 0.01 * random.standard_normal(12)
        theirs = kneed.KneeLocator(x, y, S=1, curve="concave", direction="decreasing").knee
        ours = knee(_curve(y, x)).value
        assert ours == (None if theirs is None else pytest.approx(theirs))
        none += theirs is None
    assert 0 < none < 75


def test_knee_of_two_lines_is_their_corner() -> None:
    found = knee(_curve(0.9 - np.maximum(X - 0.6, 0)))
    assert found.value == pytest.approx(0.6)
    # The chord falls by 2/3 of the height up to there.
    assert found.distance == pytest.approx(2 / 3)
    assert knee(_curve(np.full(10, 0.5))).reason == "the curve is flat"
    assert knee(_curve(0.9 - 0.5 * X)).value is None


def test_curvature_of_a_parabola_is_largest_where_it_is_flat() -> None:
    """-y'' / (1 + y'^2)^1.5 of 1 - x^2 is largest, 2, at 0; the spline has none at its ends, so near it."""
    x = np.linspace(0, 1, 60)
    found = curvature(_curve(1 - x**2, x))
    assert found.value is not None
    assert found.value < 0.15
    assert found.curvature == pytest.approx(2, rel=0.1)
    corner = curvature(_curve(0.9 - np.maximum(X - 0.6, 0)))
    assert corner.value == pytest.approx(0.6, abs=0.06)


def test_upward_curves_bend_downwards_nowhere() -> None:
    assert curvature(_curve(0.9 - 0.5 * X)).value is None


def test_noise_is_the_root_of_the_mean_variance() -> None:
    curve = Curve((0, 0.5), (0.85, 0.6), (math.sqrt(0.005), math.sqrt(0.02)))
    assert curve.noise == pytest.approx(math.sqrt(0.0125))
    assert Curve((0, 0.5), (0.9, 0.5)).noise is None


@pytest.mark.parametrize(
    ("ratios", "accuracies", "deviations"),
    [
        ((0.0,), (0.9,), None),
        ((0.0, 0.0), (0.9, 0.8), None),
        ((0.0, 0.5), (0.9,), None),
        ((0.0, 0.5), (0.9, math.nan), None),
        ((0.0, 0.5), (0.9, 0.8), (0.1, -0.1)),
    ],
)
def test_bad_curves_are_refused(
    ratios: tuple[float, ...], accuracies: tuple[float, ...], deviations: tuple[float, ...] | None
) -> None:
    with pytest.raises(UsageError):
        Curve(ratios, accuracies, deviations)
