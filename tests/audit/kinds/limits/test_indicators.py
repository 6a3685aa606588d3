"""Numbers along an axis: against what other code says of the same answers, and with known departures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leanfront.core.audit.kinds.limits.indicators import (
    Trace,
    ece_of,
    indicator,
    indicators,
    mean_of,
    resamples,
)
from leanfront.core.objectives.calibration import expected_calibration_error, negative_log_likelihood


def _logits(count: int, sharpness: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    logits = torch.randn(count, 4, generator=generator)
    logits[torch.arange(count), labels] += sharpness
    return logits, labels


def test_equal_weights_give_the_usual_numbers() -> None:
    logits, labels = _logits(300, 2.0, 0)
    other = logits + torch.randn(300, 4, generator=torch.Generator().manual_seed(1))
    traces = [Trace.of(each, labels, logits) for each in (logits, other)]
    weights = np.full((1, 300), 1 / 300)
    for place, own in enumerate((logits, other)):
        assert ece_of(traces)(weights)[0, place] == pytest.approx(expected_calibration_error(own, labels))
        assert mean_of("loss", traces)(weights)[0, place] == pytest.approx(
            negative_log_likelihood(own, labels)
        )
        same = (own.argmax(1) == logits.argmax(1)).double().mean()
        assert mean_of("agrees", traces)(weights)[0, place] == pytest.approx(float(same))


def test_resamples_spread_as_the_standard_error() -> None:
    right = np.random.default_rng(0).random(500) < 0.9
    found = resamples(500, 2000) @ right
    assert found.mean() == pytest.approx(right.mean(), abs=0.002)
    assert found.std() == pytest.approx(np.sqrt(right.mean() * (1 - right.mean()) / 500), rel=0.1)


def test_a_departure_must_last() -> None:
    random = np.random.default_rng(0)
    noise = 0.01 * random.standard_normal((400, 5)) * [0, 1, 1, 1, 1]
    ratios = (0.0, 0.2, 0.4, 0.6, 0.8)

    def leaves(values: list[float], cliff: float | None = 0.5) -> tuple[float | None, bool | None]:
        own = np.asarray(values)
        found = indicator("ece", own, own + noise, ratios, cliff)
        return found.leaves, found.before_cliff

    assert leaves([0.1, 0.1, 0.105, 0.1, 0.11]) == (None, None)
    assert leaves([0.1, 0.2, 0.1, 0.1, 0.1]) == (None, None)
    assert leaves([0.1, 0.1, 0.13, 0.14, 0.2]) == (0.4, True)
    assert leaves([0.1, 0.1, 0.1, 0.1, 0.05]) == (0.8, False)
    assert leaves([0.1, 0.1, 0.13, 0.14, 0.2], None) == (0.4, None)


def test_the_gap_is_the_difference_of_losses() -> None:
    held, labels = _logits(200, 1.0, 0)
    kept, others = _logits(100, 3.0, 1)
    traces, seen = [Trace.of(held, labels, held)] * 2, [Trace.of(kept, others, kept)] * 2
    found = indicators(traces, seen, None, (0.0, 0.5), None)
    gap = negative_log_likelihood(held, labels) - negative_log_likelihood(kept, others)
    assert found["generalisation_gap"].values == pytest.approx((gap, gap))
    assert set(found) == {"accuracy", "generalisation_gap", "ece", "agreement"}
    assert all(each.leaves is None for each in found.values())
