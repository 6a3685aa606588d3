"""Batch-norm re-estimation: the running statistics of a compressed model, from calibration data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from compressors.modules import BATCH_NORMS


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
