"""Rate-distortion closed forms against Blahut and Arimoto's algorithm, quantisers and Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from leanfront.core.audit.entropy import entropy
from leanfront.core.audit.kinds.bounds.rate_distortion import (
    gaussian_rate,
    laplacian_rate,
    pruning_distortion,
    rate_point,
    shannon_bound,
    sources,
)


def blahut_arimoto(density: np.ndarray, distance: np.ndarray, slope: float) -> tuple[float, float]:
    """Rate (bits) and distortion of a discrete source at a slope of its R(D)."""
    log_output = np.full(distance.shape[1], -math.log(distance.shape[1]))
    for _ in range(300):
        joint = log_output - slope * distance
        conditional = joint - logsumexp(joint, axis=1, keepdims=True)
        log_output = np.log(density @ np.exp(conditional) + 1e-300)
    shares = np.exp(conditional)
    rate = (density[:, None] * shares * (conditional - log_output)).sum() / math.log(2)
    return float(rate), float((density[:, None] * shares * distance).sum())


@pytest.mark.parametrize("slope", [0.8, 2.0, 5.0])
def test_closed_forms_are_what_blahut_and_arimoto_find(slope: float) -> None:
    grid = np.linspace(-6, 6, 241)
    gap = np.abs(grid[:, None] - grid)
    normal = np.exp(-(grid**2) / 2)
    rate, distortion = blahut_arimoto(normal / normal.sum(), gap**2, slope)
    assert rate == pytest.approx(gaussian_rate(1.0, distortion), abs=0.01)
    laplace = np.exp(-2 * np.abs(grid))
    rate, distortion = blahut_arimoto(laplace / laplace.sum(), gap, slope)
    assert rate == pytest.approx(laplacian_rate(2.0, distortion), abs=0.02)


def test_rates_end_at_zero() -> None:
    assert gaussian_rate(2.0, 2.5) == 0
    assert gaussian_rate(4.0, 1.0) == 1
    assert laplacian_rate(2.0, 0.5) == 0
    assert laplacian_rate(2.0, 0.25) == 1
    # Of a Gaussian, Shannon's bound is R(D) itself.
    assert shannon_bound(0.5 * math.log2(2 * math.pi * math.e * 4), 1.0) == pytest.approx(1)


def test_a_uniform_quantiser_lies_above_the_bound_and_comes_within_a_quarter_bit() -> None:
    values = np.random.default_rng(0).normal(0, 1, 400_000)
    found = sources(values)
    assert found is not None
    assert found.fitted == "gaussian"
    margins = []
    for step in (2.0, 1.0, 0.5, 0.2, 0.05):
        codes = np.round(values / step).astype(np.int64)
        error = values - codes * step
        point = rate_point("w", entropy(codes), float((error**2).mean()), float(np.abs(error).mean()), found)
        assert point is not None
        assert not point.below
        assert point.margins["shannon"] > 0
        margins.append(point.margins["gaussian"])
    assert all(margin > 0 for margin in margins)
    # At high rate a uniform quantiser with an entropy coder exceeds R(D) by this much (Gish and Pierce 1968).
    assert margins[-1] == pytest.approx(0.5 * math.log2(2 * math.pi * math.e / 12), abs=0.005)
    assert rate_point("w", 32, 0.0, 0.0, found) is None


def test_a_source_of_another_kind_may_lie_below_and_shows_its_misfit() -> None:
    """Weights of two values cost one bit and lose nothing much: no Gaussian does that."""
    rng = np.random.default_rng(1)
    values = np.where(rng.random(20_000) < 0.5, -1.0, 1.0) + rng.normal(0, 0.01, 20_000)
    found = sources(values)
    assert found is not None
    error = values - np.sign(values)
    point = rate_point("w", 1.0, float((error**2).mean()), float(np.abs(error).mean()), found)
    assert point is not None
    assert point.below
    assert point.misfit > 0.2
    assert point.to_json()["below"] is True


def test_sources_are_recovered() -> None:
    rng = np.random.default_rng(2)
    found = sources(rng.laplace(0.1, 0.5, 100_000))
    assert found is not None
    assert found.fitted == "laplacian"
    assert found.rate == pytest.approx(2, rel=0.02)
    assert found.laplacian_misfit < 0.01 < 0.04 < found.gaussian_misfit
    assert found.entropy == pytest.approx(math.log2(2 * math.e * 0.5), abs=0.02)
    assert sources(np.ones(100)) is None
    assert sources(rng.normal(size=5)) is None


@pytest.mark.parametrize("threshold", [0.1, 1.0, 3.0])
def test_pruning_a_laplacian_source_by_monte_carlo(threshold: float) -> None:
    weights = np.random.default_rng(3).laplace(0, 0.25, 2_000_000)
    gone = np.abs(weights) < threshold * 0.25
    share, distortion = gone.mean(), (weights[gone] ** 2).sum() / (weights**2).sum()
    expected = 1 - math.exp(-threshold)
    assert expected == pytest.approx(share, abs=1e-3)
    assert pruning_distortion(expected) == pytest.approx(distortion, rel=0.02, abs=1e-4)
    assert pruning_distortion(0) == 0
