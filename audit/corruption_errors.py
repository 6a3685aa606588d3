"""Corruption errors of a compressed model relative to the dense model, as pure functions of correct answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leanfront.core.objectives.documents import plain
from leanfront.core.objectives.robust import DRAWS, corruption_errors, mean_corruption_error
from leanfront.errors import UsageError

REFERENCE = "dense"
"""Model whose errors are the divisor. Published values divide by AlexNet's and are not comparable."""
ROUNDING = 1e-6
"""Smallest loss to divide by, for sums of rates in float32: less than one sample in a million is no loss."""


@dataclass(frozen=True)
class Corruption:
    """Effect of one corruption on a model and on the dense model; means are over its severities.

    Args:
        name: name of the corruption.
        accuracy: accuracy of the model at each severity.
        dense_accuracy: accuracy of the dense model at each severity.
        ce: corruption error, 1 for the dense model; NaN if the dense model makes no error.
        relative_ce: relative corruption error; NaN if the dense model loses nothing.
        relative_change: `relative_change` of the mean accuracy.
        excess_error: `excess_error` of the mean error.
    """

    name: str
    accuracy: tuple[float, ...]
    dense_accuracy: tuple[float, ...]
    ce: float
    relative_ce: float
    relative_change: float
    excess_error: float


@dataclass(frozen=True)
class Robustness:
    """Robustness of a model to corruptions, compared with the dense model.

    Args:
        reference: name of the model whose errors are the divisor.
        severities: severities of every corruption, in order.
        corruptions: one entry per corruption.
        clean_accuracy: accuracy of the model without corruption.
        dense_clean_accuracy: accuracy of the dense model without corruption.
        mce: mean over the corruptions that have a corruption error; NaN if none has.
        mce_low: lower end of its 95% bootstrap interval, or None.
        mce_high: upper end, or None.
        relative_mce: mean over the corruptions that have a relative corruption error; NaN if none has.
        undefined: corruptions without a corruption error, left out of `mce`.
        relative_undefined: corruptions without a relative one, left out of `relative_mce`.
        n: number of samples under each corruption and severity.
    """

    reference: str
    severities: tuple[int, ...]
    corruptions: tuple[Corruption, ...]
    clean_accuracy: float
    dense_clean_accuracy: float
    mce: float
    mce_low: float | None
    mce_high: float | None
    relative_mce: float
    undefined: tuple[str, ...]
    relative_undefined: tuple[str, ...]
    n: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        found: dict[str, Any] = plain(self)
        return found


def robustness(
    names: Sequence[str],
    severities: Sequence[int],
    correct: Tensor,
    dense_correct: Tensor,
    clean: Tensor,
    dense_clean: Tensor,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Robustness:
    """Compute corruption errors from the samples that both models get right.

    The interval of mCE is a bootstrap over samples.

    Args:
        names: names of the k corruptions.
        severities: the s severities.
        correct: bool (k, s, n), whether the model is right.
        dense_correct: bool (k, s, n), whether the dense model is right on the same images.
        clean: bool (m,), whether the model is right without corruption.
        dense_clean: bool (m,), whether the dense model is right without corruption.
        draws: number of resamples; 0 gives no interval.
        seed: seed of the resampling.

    Raises:
        UsageError: a type or shape differs, there are no samples, or a name occurs twice.
    """
    value, low, high = mean_corruption_error(correct, dense_correct, draws=draws, seed=seed)
    for each in (clean, dense_clean):
        if each.dtype != torch.bool or each.dim() != 1 or each.shape != clean.shape or not len(each):
            raise UsageError(
                "which clean samples are right must be two bool tensors (samples,) of one length, not "
                f"{clean.dtype} {tuple(clean.shape)} and {dense_clean.dtype} {tuple(dense_clean.shape)}"
            )
    if (len(names), len(severities)) != tuple(correct.shape[:2]):
        raise UsageError(
            f"{len(names)} corruptions at {len(severities)} severities do not name the "
            f"{tuple(correct.shape[:2])} given"
        )
    if len(set(names)) < len(names):
        raise UsageError(f"a corruption is named twice: {', '.join(names)}")
    n, top, dense_top = correct.shape[2], float(clean.double().mean()), float(dense_clean.double().mean())
    # Counts, not rates: ratios of counts are exact.
    errors, dense_errors = (~correct).sum(2).double(), (~dense_correct).sum(2).double()
    ces = corruption_errors(errors, dense_errors)
    relatives = relative_corruption_errors(errors / n, dense_errors / n, 1 - top, 1 - dense_top)
    accuracies, dense_accuracies = 1 - errors / n, 1 - dense_errors / n
    rows = []
    for place, name in enumerate(names):
        own, dense = float(accuracies[place].mean()), float(dense_accuracies[place].mean())
        rows.append(
            Corruption(
                name,
                tuple(accuracies[place].tolist()),
                tuple(dense_accuracies[place].tolist()),
                float(ces[place]),
                float(relatives[place]),
                relative_change(own, dense, top, dense_top),
                excess_error(1 - own, 1 - dense, 1 - top, 1 - dense_top),
            )
        )
    return Robustness(
        REFERENCE,
        tuple(int(each) for each in severities),
        tuple(rows),
        top,
        dense_top,
        value,
        low,
        high,
        float(relatives.nanmean()),
        tuple(row.name for row in rows if math.isnan(row.ce)),
        tuple(row.name for row in rows if math.isnan(row.relative_ce)),
        n,
    )


def relative_corruption_errors(
    errors: Tensor, dense: Tensor, clean_error: float, dense_clean_error: float
) -> Tensor:
    """Compute relative corruption errors, sum_s (E_{s,c} - E_clean) / sum_s (E_dense,{s,c} - E_dense,clean).

    Args:
        errors: (..., k, s) error rates of the model under k corruptions at s severities.
        dense: (..., k, s) error rates of the dense model.
        clean_error: error rate of the model without corruption.
        dense_clean_error: error rate of the dense model without corruption.

    Returns:
        (..., k) float64; NaN where a corruption does not raise the error of the dense model.

    Source: Hendrycks and Dietterich, ICLR 2019, section 4, with the dense model in AlexNet's place.
    """
    own = (errors.double() - clean_error).sum(-1)
    reference = (dense.double() - dense_clean_error).sum(-1)
    return torch.where(reference > ROUNDING, own / reference, torch.nan)


def relative_change(accuracy: float, dense: float, clean: float, dense_clean: float) -> float:
    """Compute 100 (a_v(D) - a_0(D)) / a_0(D) - 100 (a_v - a_0) / a_0, in percentage points.

    It is below 0 if compression costs a larger share of the accuracy on shifted data D than on clean data.

    Args:
        accuracy: accuracy a_v(D) of the model on the shifted data.
        dense: accuracy a_0(D) of the dense model on the shifted data.
        clean: accuracy a_v of the model on clean data.
        dense_clean: accuracy a_0 of the dense model on clean data.

    Returns:
        The change, or NaN if an accuracy of the dense model is 0.

    Source: Hooker et al., "What do compressed deep neural networks forget?", arXiv 1911.05248, section on
    robustness.
    """
    if dense == 0 or dense_clean == 0:
        return math.nan
    return 100 * ((accuracy - dense) / dense - (clean - dense_clean) / dense_clean)


def excess_error(error: float, dense: float, clean: float, dense_clean: float) -> float:
    """Compute (l_v(D') - l_v(D)) - (l_0(D') - l_0(D)), the loss by a shift in excess of the dense model's.

    Args:
        error: error or loss l_v(D') of the model on the shifted data.
        dense: error or loss l_0(D') of the dense model on the shifted data.
        clean: error or loss l_v(D) of the model on clean data.
        dense_clean: error or loss l_0(D) of the dense model on clean data.

    Source: Liebenwein et al., "Lost in pruning: the effects of pruning neural networks beyond test accuracy",
    MLSys 2021.
    """
    return (error - clean) - (dense - dense_clean)
