"""The surrogate learns what the predictions had wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from leanfront.core.search.surrogate import Hyperparameters, Surrogate, choose

SIZES = np.asarray([8] * 6 + [6] * 8)
KINDS = ["channels"] * 6 + ["weight"] * 8


@dataclass(frozen=True)
class Made:
    """Predicted and true losses."""

    predicted: NDArray[np.float64]
    true: NDArray[np.float64]
    exponent: float

    def shares(self, points: NDArray[np.int64]) -> NDArray[np.float64]:
        """The true shares."""
        loss = self.true[np.arange(len(SIZES)), points].sum(axis=1)
        return np.asarray(np.exp(-(loss**self.exponent)))


def made(seed: int, exponent: float = 0.8) -> Made:
    draw = np.random.default_rng(seed)
    levels = np.arange(8)[None]
    missing = np.maximum(SIZES[:, None] - 1 - levels, 0)
    predicted = draw.lognormal(-7.0, 1.0, (len(SIZES), 1)) * (3.0**missing - 1)
    predicted[levels.repeat(len(SIZES), 0) >= SIZES[:, None]] = np.inf
    true = np.where(np.isfinite(predicted), predicted, 0.0) * draw.lognormal(0.7, 0.8, (len(SIZES), 1))
    return Made(predicted, true, exponent)


def drawn(count: int, seed: int) -> NDArray[np.int64]:
    return np.maximum(SIZES - 1 - np.random.default_rng(seed).poisson(1.2, (count, len(SIZES))), 0)


def fitted(world: Made, count: int, hyperparameters: Hyperparameters | None = None) -> Surrogate:
    points = drawn(count, 1)
    shares = world.shares(points) + np.random.default_rng(2).normal(0, 0.005, count)
    chosen = hyperparameters or choose(world.predicted, KINDS, SIZES, points, shares)
    return Surrogate(world.predicted, KINDS, SIZES, points, shares, chosen)


def error(world: Made, surrogate: Surrogate) -> float:
    points = drawn(200, 9)
    return float(np.sqrt(np.mean((surrogate.share(surrogate.mean(points)) - world.shares(points)) ** 2)))


def test_without_trials_it_is_the_prediction() -> None:
    world = made(0)
    surrogate = fitted(world, 0)
    points = drawn(5, 3)
    losses = world.predicted[np.arange(len(SIZES)), points].sum(axis=1)
    mean, deviation = surrogate.predict(points)
    assert mean == pytest.approx(np.log(losses), abs=0.01)
    assert (deviation > 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_trials_make_it_better(seed: int) -> None:
    world = made(seed)
    errors = [error(world, fitted(world, count)) for count in (0, 10, 60)]
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < 0.5 * errors[1]
    assert errors[2] < 0.02


def test_it_knows_how_little_it_knows() -> None:
    """Standardised errors in t are about standard normal."""
    world = made(4)
    surrogate = fitted(world, 40)
    points = drawn(300, 5)
    mean, deviation = surrogate.predict(points)
    true = np.log(-np.log(world.shares(points))) / world.exponent
    standard = (mean - true) / deviation
    assert 0.2 < float(np.sqrt(np.mean(standard**2))) < 2
    seen, _ = surrogate.predict(drawn(40, 1))
    assert (surrogate.predict(drawn(40, 1))[1] < fitted(world, 0).predict(drawn(40, 1))[1]).all()
    assert np.isfinite(seen).all()


def test_corrections_have_the_right_sign() -> None:
    """The parameter whose loss was predicted four times too small is corrected most."""
    world = made(5)
    true = np.where(np.isfinite(world.predicted), world.predicted, 0.0)
    true[3] *= 4
    surrogate = fitted(Made(world.predicted, true, 0.8), 80)
    factors = surrogate.corrected[:, 0] / world.predicted[:, 0]
    assert int(factors.argmax()) == 3
    assert factors[3] == pytest.approx(4, rel=0.5)


def test_evidence_tells_exponents_apart() -> None:
    found = []
    for exponent in (0.6, 1.3):
        world = made(6, exponent)
        points = drawn(100, 1)
        found.append(choose(world.predicted, KINDS, SIZES, points, world.shares(points)).exponent)
    assert found[0] <= 0.8 < 1.0 <= found[1]


@pytest.mark.parametrize("shares", [[1.0, 1.02, 0.99, 1.0], [0.0, -0.01, 0.0, 0.01], [1.0, 0.0, 1.0, 0.0]])
def test_flat_or_contradicting_values_do_not_break_it(shares: list[float]) -> None:
    world = made(7)
    points = drawn(4, 1)
    points[3] = points[2]
    values = np.asarray(shares)
    chosen = choose(world.predicted, KINDS, SIZES, points, values)
    surrogate = Surrogate(world.predicted, KINDS, SIZES, points, values, chosen)
    mean, deviation = surrogate.predict(drawn(50, 2))
    assert np.isfinite(mean).all()
    assert (deviation > 0).all()
    assert np.isfinite(surrogate.evidence)
