"""Rewriting of batch norms: other statistics, scales and shifts, the same function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.norms import BATCH_NORMS, inference_form, keeps_function


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
    """Set the statistics of batch norms to those of their inputs, and adapt scales and shifts to keep the function.

    A refitted layer's norm keeps the dense model's variance, and an artifact's norm holds no statistics: in training
    mode both would compute something else. Afterwards a norm computes the same with its running statistics as with
    each batch's, up to the batch's noise.

    Args:
        module: the model, in eval mode; changed in place.
        batches: inputs (n, ...) on the module's device.
        eps: norm's name -> number added to its variance; norms that are not named keep their own.
    """
    norms = {
        name: norm
        for name, norm in module.named_modules()
        if isinstance(norm, BATCH_NORMS) and norm.running_mean is not None and keeps_function(norm)
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
