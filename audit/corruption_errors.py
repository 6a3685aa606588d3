"""How much more a compressed model loses under corruptions than the dense model: pure functions of what is right."""

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
"""What errors are divided by: published figures divide by AlexNet's and do not compare with these."""
ROUNDING = 1e-6
"""Of sums of rates in float32: less than one sample of a million is no loss to divide by."""


@dataclass(frozen=True)
class Corruption:
    """What one corruption does to a model and to the dense one; means are over its severities.

    Args:
        name: of the corruption.
        accuracy: a severity each, of the model.
        dense_accuracy: likewise, of the dense model.
        ce: corruption error, 1 for the dense model; NaN where that makes no error.
        relative_ce: relative corruption error; NaN where the dense model loses nothing.
        relative_change: see `relative_change`, of the mean accuracy.
        excess_error: see `excess_error`, of the mean error.
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
    """A model under corruptions beside the dense model.

    Args:
        reference: the model that errors are divided by.
        severities: of every corruption, in order.
        corruptions: one each.
        clean_accuracy: the model's without corruption.
        dense_clean_accuracy: the dense model's.
        mce: mean corruption error over the corruptions with one; NaN where there is none.
        mce_low: lower end of its 95% bootstrap interval, or None.
        mce_high: upper end, or None.
        relative_mce: mean relative corruption error, likewise.
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
        """A JSON-ready dictionary."""
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
    """Of which samples both models get right; the interval of mCE is a bootstrap over samples.

    Args:
        names: k corruptions.
        severities: s.
        correct: bool (k, s, n), of the model.
        dense_correct: bool (k, s, n), of the dense model on the same images.
        clean: bool (m,), of the model without corruption.
        dense_clean: bool (m,), of the dense model.
        draws: resamples; 0 gives no interval.
        seed: of the resampling.

    Raises:
        UsageError: other types or shapes, no samples, or a name twice.
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
    """sum_s (E_{s,c} - E_clean) / sum_s (E_dense,{s,c} - E_dense,clean): what a corruption adds, beside the dense.

    Args:
        errors: (..., k, s) error rates under k corruptions at s severities.
        dense: (..., k, s) the dense model's.
        clean_error: without corruption.
        dense_clean_error: the dense model's.

    Returns:
        (..., k) float64; NaN where the corruption adds nothing to the dense model's error, or lowers it.

    Source: Hendrycks and Dietterich, ICLR 2019, section 4, with the dense model in AlexNet's place.
    """
    own = (errors.double() - clean_error).sum(-1)
    reference = (dense.double() - dense_clean_error).sum(-1)
    return torch.where(reference > ROUNDING, own / reference, torch.nan)


def relative_change(accuracy: float, dense: float, clean: float, dense_clean: float) -> float:
    """100 (a_v(D) - a_0(D)) / a_0(D) - 100 (a_v - a_0) / a_0, in percentage points.

    Below 0, compression costs a larger share of the accuracy on D than of that on clean data.

    Args:
        accuracy: of the model on the shifted data D.
        dense: of the dense model on D.
        clean: of the model on clean data.
        dense_clean: of the dense model on clean data.

    Returns:
        NaN where a dense accuracy is 0.

    Source: Hooker et al., "What do compressed deep neural networks forget?", arXiv 1911.05248, section on
    robustness.
    """
    if dense == 0 or dense_clean == 0:
        return math.nan
    return 100 * ((accuracy - dense) / dense - (clean - dense_clean) / dense_clean)


def excess_error(error: float, dense: float, clean: float, dense_clean: float) -> float:
    """(l_v(D') - l_v(D)) - (l_0(D') - l_0(D)): how much more the shift from D to D' costs than it costs the dense.

    Args:
        error: error or loss of the model on the shifted data D'.
        dense: of the dense model on D'.
        clean: of the model on D.
        dense_clean: of the dense model on D.

    Source: Liebenwein et al., "Lost in pruning: the effects of pruning neural networks beyond test accuracy",
    MLSys 2021.
    """
    return (error - clean) - (dense - dense_clean)
