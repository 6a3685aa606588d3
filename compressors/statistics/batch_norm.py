"""Batch-norm re-estimation: the running statistics of a compressed model, from calibration data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.norms import BATCH_NORMS


def reestimate(module: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace the running statistics of every batch norm by those of the given inputs, in place.

    All norms are re-estimated in one pass: each normalises with the statistics of the batch, so that later layers
    read the inputs they will have afterwards. All batches have equal weight. Everything else stays in eval mode
    (dropout off).

    Args:
        module: the model, in eval mode.
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
    """Return the running statistics of every batch norm, without copying them."""
    return {
        f"{name}.{key}": buffer
        for name, norm in module.named_modules()
        if isinstance(norm, BATCH_NORMS)
        for key, buffer in norm.named_buffers()
    }


Statistics = dict[str, tuple[Tensor, Tensor]]
"""Norm's name -> (running mean, running variance)."""


def statistics(module: nn.Module) -> Statistics:
    """Return copies of the running statistics of every batch norm."""
    found: Statistics = {}
    for name, norm in module.named_modules():
        if isinstance(norm, BATCH_NORMS) and norm.running_mean is not None and norm.running_var is not None:
            found[name] = norm.running_mean.clone(), norm.running_var.clone()
    return found


def anchor(module: nn.Module, dense: Statistics, sampled: Statistics) -> None:
    """Remove the sampling error of the calibration images from re-estimated statistics, in place.

    The statistics of a few hundred images differ from those of the training set, for the dense and the compressed
    model alike. Only the difference between the two models on the same images comes from the compression: the
    difference of the means is added to the dense model's means, and its variances are multiplied by the ratio of
    the variances (a control variate). A model that compression hardly changes keeps its statistics.

    Args:
        module: the compressed model with re-estimated statistics.
        dense: the dense model's own statistics, cut as the module is.
        sampled: the dense model's statistics re-estimated on the same images, cut likewise.
    """
    for name, norm in module.named_modules():
        if name in dense and isinstance(norm, BATCH_NORMS):
            (mean, variance), (sampled_mean, sampled_variance) = dense[name], sampled[name]
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.add_(mean - sampled_mean)
            # A channel without variance on these images has no ratio.
            share = norm.running_var / sampled_variance
            norm.running_var.copy_(torch.where(sampled_variance > 0, variance * share, norm.running_var))
