"""Robustness of a candidate to corruptions and noise, relative to the dense model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from leanfront.core.compressors.statistics.outputs import correct as right
from leanfront.core.objectives.metrics import CONFIDENCE, Estimate, wilson
from leanfront.errors import UsageError

DRAWS = 1000
"""Number of resamples of a bootstrap interval."""
CHUNK = 2_000_000
"""Number of resampled positions held in memory at once."""


def corruption_errors(errors: Tensor, dense: Tensor) -> Tensor:
    """Compute CE_c = sum_s E_{s,c} / sum_s E_dense,{s,c}: error under each corruption relative to the dense model's.

    Args:
        errors: (..., k, s) error rates, or counts out of equal numbers, under k corruptions at s severities.
        dense: (..., k, s) the same for the dense model.

    Returns:
        (..., k) float64; NaN if the dense model makes no error.

    Source: Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and
    perturbations", ICLR 2019, section 4, with the dense model in AlexNet's place.
    """
    total, reference = errors.double().sum(-1), dense.double().sum(-1)
    return torch.where(reference > 0, total / reference, torch.nan)


def mean_corruption_error(
    correct: Tensor, dense_correct: Tensor, *, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Compute the mCE: the mean of CE_c over the corruptions under which the dense model makes an error.

    The dense model has an mCE of 1. The interval is a 95% percentile bootstrap over samples, each drawn with all its
    corruptions and the answers of both models. Resamples in which every corruption is undefined are dropped.

    Args:
        correct: bool (k, s, n): k corruptions, s severities, n samples.
        dense_correct: bool (k, s, n), the same for the dense model on the same images.
        draws: number of resamples; 0 gives no interval.
        seed: seed of the resampling.

    Returns:
        Value, low, high; NaN, None, None if the dense model makes no error; no interval for n = 1.

    Raises:
        UsageError: tensors of other types, of different shapes, or empty.

    Source: `corruption_errors`; Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.
    """
    _check(correct, dense_correct)
    # CE_c depends only on each sample's errors summed over severities, so resampling is a matrix product.
    own, dense = (~correct).sum(1).double(), (~dense_correct).sum(1).double()

    def mean(weights: Tensor) -> Tensor:
        found = corruption_errors((weights @ own.T).unsqueeze(-1), (weights @ dense.T).unsqueeze(-1))
        return found.nanmean(-1)

    n = own.shape[1]
    value = float(mean(torch.ones(1, n, dtype=torch.float64)))
    return (value, *_bootstrap(mean, n, draws, seed)) if not math.isnan(value) else (value, None, None)


def flip_rate(clean: Tensor, noisy: Tensor, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Compute the share of answers that noise changes: the argmax of `noisy` differs from that of `clean`.

    With one noisy image per sample the interval is Wilson's. With several, the flips of a sample are dependent, and
    the interval is a bootstrap over samples. If all samples have the same share, so that a bootstrap has no spread,
    it is Wilson's interval of the rate over n.

    Args:
        clean: (n, C) logits, or (d, n, C) with one set per noisy image.
        noisy: (n, C) logits, or (d, n, C) for d noisy images per sample.
        draws: number of resamples; 0 gives no interval for d > 1.
        seed: seed of the resampling.

    Returns:
        Value, low, high.

    Raises:
        UsageError: shapes do not fit, there are no samples, or logits are NaN or infinite.

    Source: Cohen et al., "Certified adversarial robustness via randomized smoothing", ICML 2019 (1 - its p_A).
    """
    one, many = (each.unsqueeze(0) if each.dim() == 2 else each for each in (clean, noisy))
    if one.dim() != 3 or one.shape[1:] != many.shape[1:] or one.shape[0] not in (1, many.shape[0]):
        raise UsageError(
            f"flips compare logits (n, C) with (n, C) or (d, n, C), not {tuple(clean.shape)} with "
            f"{tuple(noisy.shape)}"
        )
    if not many.numel() or not bool(torch.isfinite(one).all() and torch.isfinite(many).all()):
        raise UsageError(f"flips need finite logits of at least one sample, not shape {tuple(noisy.shape)}")
    flipped = torch.stack(
        [~right(b, first_answers(a)) for a, b in zip(one.expand_as(many), many, strict=True)]
    )
    pictures, n = flipped.shape
    value, share = float(flipped.double().mean()), flipped.double().mean(0)
    if pictures == 1:
        return (value, *wilson(int(flipped.sum()), n))
    if bool((share == share[0]).all()):
        return (value, *wilson(round(value * n), n))
    return (value, *_bootstrap(lambda weights: weights @ share / n, n, draws, seed))


def first_answers(logits: Tensor) -> Tensor:
    """Return (n,) the first class with the largest logit; torch's argmax does not define ties."""
    return torch.from_numpy(logits.detach().cpu().numpy().argmax(axis=1)).to(logits.device)


def _check(correct: Tensor, dense_correct: Tensor) -> None:
    if (
        correct.dtype != torch.bool
        or dense_correct.dtype != torch.bool
        or correct.dim() != 3
        or correct.shape != dense_correct.shape
        or not correct.numel()
    ):
        raise UsageError(
            "corruption errors need two bool tensors (corruptions, severities, samples) of one shape, not "
            f"{correct.dtype} {tuple(correct.shape)} and {dense_correct.dtype} {tuple(dense_correct.shape)}"
        )


def _bootstrap(
    statistic: Callable[[Tensor], Tensor], n: int, draws: int, seed: int
) -> tuple[float | None, float | None]:
    """Return the percentile interval of a statistic of the resampling counts ((d, n) float64 -> (d,))."""
    if n < 2 or draws < 1:
        return None, None
    found = torch.cat([statistic(weights) for weights in _resamples(n, draws, seed)])
    found = found[~found.isnan()]
    if not len(found):
        return None, None
    ends = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    low, high = torch.quantile(found, ends).tolist()
    return low, high


def _resamples(n: int, draws: int, seed: int) -> Iterator[Tensor]:
    generator = np.random.default_rng(seed)
    for start in range(0, draws, size := max(1, CHUNK // n)):
        count = min(size, draws - start)
        positions = generator.integers(n, size=(count, n)) + n * np.arange(count)[:, None]
        weights = np.bincount(positions.ravel(), minlength=count * n).reshape(count, n)
        yield torch.from_numpy(weights).double()
