"""Checks of a classifier's outputs and labels."""

from __future__ import annotations

import torch
from torch import Tensor

from leanfront.errors import EvaluationError


def checked(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Check outputs and labels, and return them as float64 and int64 on the CPU.

    See `require_measurable` for arguments and errors.
    """
    logits, labels = logits.detach().cpu(), labels.detach().cpu()
    require_measurable(logits, labels)
    return logits.double(), labels.long()


def require_measurable(logits: Tensor, labels: Tensor) -> None:
    """Check that outputs and labels are those of a classifier.

    Args:
        logits: (N, C) float, any device.
        labels: (N,) integers in 0..C-1.

    Raises:
        EvaluationError: wrong shapes or types, no samples, labels out of range, or logits that are NaN or
            infinite.
    """
    if logits.ndim != 2 or not logits.is_floating_point():
        raise EvaluationError(
            f"a classifier's outputs must be floats of shape (samples, classes), not {logits.dtype} of shape "
            f"{tuple(logits.shape)}"
        )
    if labels.shape != logits.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
        raise EvaluationError(
            f"labels must be integers of shape ({logits.shape[0]},), not {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    if logits.numel() == 0:
        raise EvaluationError(
            f"nothing to measure: outputs of shape {tuple(logits.shape)}; is the split empty?"
        )
    bad = int((~torch.isfinite(logits)).any(dim=1).sum())
    if bad:
        raise EvaluationError(
            f"the model's outputs are NaN or infinite for {bad} of {logits.shape[0]} samples"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise EvaluationError(
            f"labels span {low}..{high} but the model has {logits.shape[1]} outputs: they must lie in "
            f"0..{logits.shape[1] - 1}"
        )
