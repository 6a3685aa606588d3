"""Batch norms written anew: other statistics, scales and shifts, the same function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.folding import inference_form
from leanfront.core.compressors.structure.modules import BATCH_NORMS


class _Seen:
    """Mean and variance of a norm's inputs, over batches of any size."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.spread = torch.zeros(())

    def add(self, inputs: Tensor) -> None:
        others = [axis for axis in range(inputs.dim()) if axis != 1]
        variance, mean = torch.var_mean(inputs.float(), dim=others, correction=0)
        count = inputs.numel() // max(1, inputs.shape[1])
        # Chan's update: the difference of large sums would lose small variances.
        total = self.count + count
        apart = mean - self.mean
        self.spread = self.spread + variance * count + apart.square() * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total


@torch.no_grad()
def restate(module: nn.Module, batches: Iterable[Tensor], eps: Mapping[str, float]) -> None:
    """Give batch norms the statistics of the inputs they read, and the scales and shifts that make up for it.

    A refitted layer's norm keeps the dense model's variance, and an artifact's holds none at all: in training mode
    both would suddenly compute something else. After this a norm computes the same with its own statistics as
    with each batch's, up to the batch's noise.

    Args:
        module: in eval mode; changed in place.
        batches: inputs (n, ...) on the module's device.
        eps: norm's name -> what is added to its variance; as the norm has it where it is not named.
    """
    norms = {
        name: norm
        for name, norm in module.named_modules()
        if isinstance(norm, BATCH_NORMS) and norm.running_mean is not None
    }
    seen = {name: _Seen() for name in norms}
    handles = [norm.register_forward_pre_hook(_watch(seen[name])) for name, norm in norms.items()]
    try:
        for inputs in batches:
            module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    for name, norm in norms.items():
        found = seen[name]
        if not found.count:
            continue
        scale, shift = inference_form(norm)
        mean, variance = found.mean, found.spread / found.count
        norm.eps = eps.get(name, norm.eps)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.affine = True
        gamma = scale * (variance + norm.eps).sqrt()
        norm.weight = nn.Parameter(gamma, requires_grad=False)
        norm.bias = nn.Parameter(shift + scale * mean, requires_grad=False)


def _watch(seen: _Seen) -> Callable[[nn.Module, Any], None]:
    def hook(_: nn.Module, inputs: Any) -> None:
        seen.add(inputs[0])

    return hook
