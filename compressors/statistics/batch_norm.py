"""Batch-norm re-estimation: the running statistics of a compressed model, from calibration data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.modules import BATCH_NORMS


def reestimate(module: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace the running statistics of every batch norm by those of the given inputs, in place.

    All norms are re-estimated in one pass: each normalises with its batch's own statistics, so later layers
    see what they will see once earlier ones are right. Statistics average the batches equally. Everything
    else stays in eval mode (dropout off).

    Args:
        module: in eval mode.
        batches: inputs, shape (n, ...), on the module's device; batches of one sample are skipped.

    Returns:
        Number of norms re-estimated. A norm that saw no batch keeps its statistics.
    """
    norms = [m for m in module.modules() if isinstance(m, BATCH_NORMS) and m.running_mean is not None]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    before = [{key: buffer.clone() for key, buffer in norm.named_buffers()} for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average over batches
        norm.train()
    try:
        with torch.inference_mode(False), torch.no_grad():
            for inputs in batches:
                if len(inputs) > 1:
                    module(inputs)
    finally:
        unread = 0
        for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            norm.eval()
            if not int(norm.num_batches_tracked or 0):
                unread += 1
                for key, buffer in norm.named_buffers():
                    buffer.copy_(buffers[key])
    return len(norms) - unread


def norm_buffers(module: nn.Module) -> dict[str, Tensor]:
    """The running statistics of every batch norm, the module's own tensors."""
    return {
        f"{name}.{key}": buffer
        for name, norm in module.named_modules()
        if isinstance(norm, BATCH_NORMS)
        for key, buffer in norm.named_buffers()
    }


Statistics = dict[str, tuple[Tensor, Tensor]]
"""Norm's name -> (running mean, running variance)."""


def statistics(module: nn.Module) -> Statistics:
    """Copies of the running statistics of every batch norm."""
    found: Statistics = {}
    for name, norm in module.named_modules():
        if isinstance(norm, BATCH_NORMS) and norm.running_mean is not None and norm.running_var is not None:
            found[name] = norm.running_mean.clone(), norm.running_var.clone()
    return found


def anchor(module: nn.Module, dense: Statistics, sampled: Statistics) -> None:
    """Take the calibration sample's own error out of re-estimated statistics, in place.

    A few hundred images give other statistics than the training set did, for the dense model as for the
    compressed one. Only the difference between these two on the same images is compression's doing: it is
    added to the dense model's own means, and multiplied onto its variances (a control variate). A model that
    compression hardly changes keeps its statistics.

    Args:
        module: compressed and re-estimated.
        dense: the dense model's own statistics, cut as the module is.
        sampled: the dense model's statistics re-estimated on the same images, cut likewise.
    """
    for name, norm in module.named_modules():
        if name in dense and isinstance(norm, BATCH_NORMS):
            (mean, variance), (sampled_mean, sampled_variance) = dense[name], sampled[name]
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.add_(mean - sampled_mean)
            # A channel without variance on these images says nothing about how much of it is left.
            share = norm.running_var / sampled_variance
            norm.running_var.copy_(torch.where(sampled_variance > 0, variance * share, norm.running_var))
