"""Corruption errors and flips against hand-worked figures and scipy's bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from torch import Tensor

from leanfront.core.objectives import wilson
from leanfront.core.objectives.robust import corruption_errors, flip_rate, mean_corruption_error
from leanfront.errors import UsageError


def outcomes(*errors: list[int], n: int = 10) -> Tensor:
    """bool (k, s, n) with so many errors under each corruption and severity."""
    return torch.stack([torch.stack([torch.arange(n) >= count for count in row]) for row in errors])


def one_hot(*answers: int) -> Tensor:
    """Logits (n, 3) of these answers."""
    return torch.eye(3)[list(answers)]


def test_mean_corruption_error_by_hand() -> None:
    correct = outcomes([2, 6], [5, 5], [1, 0])
    dense = outcomes([1, 3], [4, 4], [0, 0])
    # 8/4 and 10/8; under the third the dense model makes no error.
    value, low, high = mean_corruption_error(correct, dense)
    assert value == (2.0 + 1.25) / 2
    assert low is not None
    assert high is not None
    assert low < value < high
    ratios = corruption_errors((~correct).sum(2), (~dense).sum(2))
    assert ratios[:2].tolist() == [2.0, 1.25]
    assert ratios[2].isnan()


def test_the_dense_model_itself_has_an_error_of_one() -> None:
    dense = torch.rand(4, 3, 50) < 0.7
    assert mean_corruption_error(dense, dense) == (1.0, 1.0, 1.0)


def test_no_dense_error_at_all_is_no_number() -> None:
    value, low, high = mean_corruption_error(outcomes([1], [2]), outcomes([0], [0]))
    assert math.isnan(value)
    assert (low, high) == (None, None)
    assert mean_corruption_error(outcomes([1], n=1), outcomes([1], n=1)) == (1.0, None, None)
    assert mean_corruption_error(outcomes([2]), outcomes([1]), draws=0) == (2.0, None, None)


def test_the_interval_equals_scipys_paired_bootstrap() -> None:
    generator = torch.Generator().manual_seed(1)
    hard = torch.rand(200, generator=generator)
    correct, dense = (torch.rand(5, 2, 200, generator=generator) > share * hard for share in (0.9, 0.6))

    def mce(positions: np.ndarray) -> float:
        own, reference = (~correct[:, :, positions], ~dense[:, :, positions])
        return float((own.sum((1, 2)) / reference.sum((1, 2))).mean())

    expected = bootstrap(
        (np.arange(200),),
        mce,
        n_resamples=3000,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    value, low, high = mean_corruption_error(correct, dense, draws=3000)
    assert value == pytest.approx(mce(np.arange(200)))
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.08 * width)
    assert high == pytest.approx(expected.high, abs=0.08 * width)
    assert mean_corruption_error(correct, dense, draws=3000) == (value, low, high)
    assert mean_corruption_error(correct, dense, draws=3000, seed=1) != (value, low, high)


def test_pairs_are_kept_together() -> None:
    # A model that errs exactly where the dense one does has a ratio of 1 in every resample.
    dense = torch.rand(3, 2, 40) < 0.5
    twice = mean_corruption_error(dense[:, :1], dense[:, :1])
    assert twice == (1.0, 1.0, 1.0)
    _, low, high = mean_corruption_error(dense, dense[:, :, torch.randperm(40)])
    assert low is not None
    assert high is not None
    assert low < 1 < high


def test_one_picture_a_sample_has_wilsons_interval() -> None:
    clean, noisy = one_hot(0, 1, 2, 0, 1), one_hot(0, 2, 2, 1, 1)
    assert flip_rate(clean, noisy) == (0.4, *wilson(2, 5))
    assert flip_rate(clean, noisy.unsqueeze(0)) == (0.4, *wilson(2, 5))
    assert flip_rate(clean, clean) == (0.0, *wilson(0, 5))
    # A tie is the first class, on both sides.
    assert flip_rate(torch.zeros(2, 3), one_hot(0, 1))[0] == 0.5
    assert flip_rate(one_hot(0, 1), torch.zeros(2, 3))[0] == 0.5


def test_several_pictures_a_sample_have_a_bootstrap_over_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(150, 4, generator=generator)
    noisy = clean + torch.randn(8, 150, 4, generator=generator) * 0.7
    share = (noisy.argmax(2) != clean.argmax(1)).double().mean(0).numpy()
    value, low, high = flip_rate(clean, noisy, draws=4000)
    assert value == pytest.approx(share.mean())
    expected = bootstrap(
        (share,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.005)
    assert high == pytest.approx(expected.high, abs=0.005)
    # Each picture of its own pair, in any order of the pictures.
    assert flip_rate(noisy, noisy.flip(0))[0] > 0
    assert flip_rate(noisy, noisy)[0] == 0


def test_several_pictures_that_all_hold_have_wilsons_interval_over_samples() -> None:
    clean = one_hot(0, 1, 2)
    assert flip_rate(clean, clean.expand(5, 3, 3)) == (0.0, *wilson(0, 3))


def test_what_does_not_fit_is_refused() -> None:
    good = outcomes([1, 2])
    for wrong in (good.int(), good[0], good[:, :1], good[:, :, :0]):
        with pytest.raises(UsageError, match="two bool tensors"):
            mean_corruption_error(wrong, good)
    with pytest.raises(UsageError, match="two bool tensors"):
        mean_corruption_error(good[:, :, :0], good[:, :, :0])
    logits = one_hot(0, 1)
    for noisy in (logits[:1], logits[:, :2], logits[0]):
        with pytest.raises(UsageError, match="flips compare logits"):
            flip_rate(logits, noisy)
    with pytest.raises(UsageError, match="flips compare logits"):
        flip_rate(logits.expand(3, 2, 3), logits)
    for noisy in (logits * torch.nan, logits / 0):
        with pytest.raises(UsageError, match="finite logits"):
            flip_rate(logits, noisy)
    with pytest.raises(UsageError, match="at least one sample"):
        flip_rate(logits[:0], logits[:0])
