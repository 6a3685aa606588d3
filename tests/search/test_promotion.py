"""Predicted recovery: learns laws, begins with its prior, says how wrong it is, and chooses the best bargain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from leanfront.core.objectives import normalised_hypervolume, resolve
from leanfront.core.search.promotion import CASES, NOISE, Features, Outcome, Predictor, expected_gains, ranked

OBJECTIVES = resolve("accuracy,memory,macs")
REFERENCE = {"accuracy": 0.1, "memory": 1000.0, "macs": 1000.0}


def law(weights: tuple[float, ...], count: int, noise: float = 0.0, seed: int = 0) -> list[Outcome]:
    """Outcomes whose gains are linear in what is known."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        features = Features(draw.uniform(0.02, 0.5), draw.uniform(0.2, 1), draw.uniform(0.05, 0.5))
        gain = float(np.dot(weights, features.row)) + noise * draw.standard_normal()
        found.append(Outcome(features, gain, 3.0 * (1 + features.macs)))
    return found


def test_before_any_outcome_half_of_the_drop_is_expected() -> None:
    predictor = Predictor([])
    for drop in (0.0, 0.1, 0.4):
        found = predictor.predict(Features(drop, 0.5, 0.2))
        assert found.gain == pytest.approx(drop / 2)
        assert found.minutes is None
        assert found.points == 0
        assert found.low < found.gain < found.high
    near, far = (predictor.predict(Features(drop, 0.5, 0.2)).error for drop in (0.05, 0.4))
    assert NOISE < near < far
    # What is better than the dense model has nothing to regain.
    assert predictor.predict(Features(-0.2, 0.5, 0.2)) == predictor.predict(Features(0.0, 0.5, 0.2))
    assert predictor.error is None


@pytest.mark.parametrize("weights", [(0.0, 0.8, -0.3, 0.2), (0.01, 0.2, 0.1, 0.0)])
def test_a_linear_law_is_learnt(weights: tuple[float, ...]) -> None:
    unseen = law(weights, 20, seed=1)
    misses = []
    for count in (0, 4, 60):
        predictor = Predictor(law(weights, count))
        misses.append(max(abs(predictor.predict(e.features).gain - e.gain) for e in unseen))
    assert misses[0] > misses[1] > misses[2]
    assert misses[2] < 0.004
    predictor = Predictor(law(weights, 60))
    found = predictor.predict(Features(0.2, 0.5, 0.2))
    assert found.minutes == pytest.approx(4.5)
    assert found.points == 60


def test_intervals_hold_what_they_say() -> None:
    """Over many laws drawn from the prior itself: 95% of 95% intervals, within four standard errors."""
    draw = np.random.default_rng(3)
    inside, cases = 0, 400
    for seed in range(cases):
        noise = NOISE * math.sqrt(1 / draw.gamma(2.0, 1.0))
        scale = noise / NOISE
        weights = tuple(draw.normal(np.array([0, 0.5, 0, 0]), scale * np.array([0.005, 0.25, 0.3, 0.3])))
        *seen, unseen = law(weights, 7, noise, seed)
        found = Predictor(seen).predict(unseen.features)
        inside += found.low <= unseen.gain <= found.high
    assert abs(inside / cases - 0.95) < 4 * math.sqrt(0.95 * 0.05 / cases)


def test_the_posterior_is_the_closed_form_of_least_squares() -> None:
    """The prior is as good as further rows, each weight on its own: what an ordinary fit of both gives."""
    outcomes = law((0.0, 0.6, 0.1, -0.1), 9, noise=0.02)
    rows = np.array([each.features.row for each in outcomes])
    prior, deviation = np.array([0, 0.5, 0, 0]), np.array([0.005, 0.25, 0.3, 0.3])
    weights = np.vstack([rows, np.diag(NOISE / deviation)])
    wanted = np.append([each.gain for each in outcomes], NOISE / deviation * prior)
    fitted, rest, _, _ = np.linalg.lstsq(weights, wanted, rcond=None)
    found = Predictor(outcomes).predict(Features(0.3, 0.4, 0.2))
    row = np.array(Features(0.3, 0.4, 0.2).row)
    assert found.gain == pytest.approx(row @ fitted)
    variance = (NOISE**2 + rest[0] / 2) / (2 + 9 / 2 - 1)
    leverage = row @ np.linalg.inv(weights.T @ weights) @ row
    assert found.error == pytest.approx(math.sqrt(variance * (1 + leverage)))
    half = stats.t.ppf(0.975, 4 + 9) * found.error * math.sqrt(11 / 13)
    assert (found.low, found.high) == pytest.approx((found.gain - half, found.gain + half))


def test_the_error_is_that_of_outcomes_left_out() -> None:
    outcomes = law((0.0, 0.6, 0.1, -0.1), 6, noise=0.03)
    misses = []
    for i, each in enumerate(outcomes):
        rest = [other for j, other in enumerate(outcomes) if j != i]
        misses.append(each.gain - Predictor(rest).predict(each.features).gain)
    assert Predictor(outcomes).error == pytest.approx(math.sqrt(sum(m * m for m in misses) / 6))
    seen = [each.gain - Predictor(outcomes).predict(each.features).gain for each in outcomes]
    assert math.sqrt(sum(m * m for m in seen) / 6) < (Predictor(outcomes).error or 0)
    assert Predictor(outcomes[:1]).error is None


def test_expected_gains_are_means_of_hypervolume() -> None:
    predictor = Predictor(law((0.0, 0.5, 0.0, 0.0), 5, noise=0.01))
    front = [(0.9, 800.0, 800.0), (0.6, 300.0, 400.0), (0.3, 100.0, 100.0)]
    points = [(Features(0.95 - a, c / 1000, m / 1000), (a, m, c)) for a, m, c in front]
    now = normalised_hypervolume(front, OBJECTIVES, REFERENCE, log2=True)
    found = expected_gains(predictor, points, front, OBJECTIVES, REFERENCE)
    for gain, (features, values) in zip(found, points, strict=True):
        volumes = []
        for case in predictor.cases(features):
            point = (min(1.0, values[0] + case), *values[1:])
            volumes.append(normalised_hypervolume([*front, point], OBJECTIVES, REFERENCE, log2=True) - now)
        assert len(volumes) == CASES
        assert gain == pytest.approx(np.mean(volumes))
    shares = [predictor.cases(f) for f, _ in points]
    assert all(
        np.mean(case) == pytest.approx(predictor.predict(f).gain, abs=0.01)
        for case, (f, _) in zip(shares, points, strict=True)
    )
    # Where accuracy is no objective, accuracy it is all the same.
    costs = resolve("memory,macs")
    cheaper = [(features, point[1:]) for features, point in points]
    plain = expected_gains(predictor, cheaper, [point for _, point in cheaper], costs, REFERENCE)
    assert plain == pytest.approx([np.maximum(case, 0).mean() for case in shares])


def test_the_best_bargain_comes_first() -> None:
    """Of two that gain as much, the one that is trained faster; of two that take as long, the one that gains more."""
    predictor = Predictor(law((0.0, 0.5, 0.0, 0.0), 30, noise=0.002))
    front = [(0.5, 200.0, 500.0), (0.7, 400.0, 500.0), (0.9, 900.0, 900.0)]
    points = [(Features(0.95 - a, c / 1000, m / 1000), (a, m, c)) for a, m, c in front]
    order = ranked(predictor, points, front, OBJECTIVES, REFERENCE)
    rates = [
        gain / features.work
        for gain, (features, _) in zip(
            expected_gains(predictor, points, front, OBJECTIVES, REFERENCE), points, strict=True
        )
    ]
    assert [rates[i] for i in order] == sorted(rates, reverse=True)
    assert order[0] == 0  # the deepest drop, at the least cost
    slow, fast = Features(0.4, 0.9, 0.2), Features(0.4, 0.3, 0.2)
    objectives, reference = resolve("accuracy,memory"), {"accuracy": 0.1, "memory": 1000.0}
    both = [(slow, (0.55, 200.0)), (fast, (0.55, 200.0))]
    assert ranked(predictor, both, [(0.55, 200.0)], objectives, reference) == [1, 0]


def test_what_cannot_reach_the_frontier_is_not_chosen() -> None:
    predictor = Predictor(law((0.0, 0.5, 0.0, 0.0), 30, noise=0.002))
    # Recovered, the first is beaten by far by one that costs less; the second costs more than the reference.
    points = [
        (Features(0.5, 0.9, 0.9), (0.4, 900.0, 900.0)),
        (Features(0.5, 1.0, 1.0), (0.4, 1000.0, 1000.0)),
    ]
    assert ranked(predictor, points, [(0.9, 100.0, 100.0)], OBJECTIVES, REFERENCE) == []
    assert ranked(predictor, [], [(0.9, 100.0, 100.0)], OBJECTIVES, REFERENCE) == []
