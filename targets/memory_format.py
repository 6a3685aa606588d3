"""Memory format of images and convolutions: channels innermost where a model allows it.

Convolutions run about a third faster with channels innermost in memory. Some models break: they call ``view`` behind
a convolution, or ``view_as_complex`` on a parameter. So the format is tried on real inputs.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

SAMPLES = 8
"""Number of samples on which the format is tried."""
TOLERANCE = 1e-3
"""Largest difference of the outputs, as a share of the largest output: sums may be rounded differently."""


def allows_innermost(model: nn.Module, inputs: Tensor) -> bool:
    """Whether a model computes the same outputs with channels innermost in memory.

    Args:
        model: model in eval mode; it is not changed.
        inputs: real inputs (n, ...), of which the first `SAMPLES` are tried.

    Returns:
        False for models without weights of four dimensions, which gain nothing, and for models with weights of five,
        which have another format.
    """
    dimensions = {tensor.dim() for tensor in (*model.parameters(), *model.buffers())}
    if 4 not in dimensions or 5 in dimensions:
        return False
    inputs = inputs[:SAMPLES]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        expected = model(inputs)
        if not isinstance(expected, Tensor):
            return False
        try:
            turned = with_innermost(copy.deepcopy(model))
            found = turned(like_weights(turned, inputs))
        except RuntimeError:
            return False
        return bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())


def with_innermost(module: nn.Module, wanted: bool = True) -> nn.Module:
    """Return the module with the channels of its weights innermost in memory, if that is wanted."""
    return module.to(memory_format=torch.channels_last) if wanted else module


def contiguous(module: nn.Module) -> nn.Module:
    """Return the module with weights in the default memory format, changed in place."""
    return module.to(memory_format=torch.contiguous_format)


def has_innermost(module: nn.Module) -> bool:
    """Whether a module has weights with channels innermost in memory."""
    return any(
        tensor.dim() == 4
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
        for tensor in (*module.parameters(), *module.buffers())
    )


def in_format(inputs: Tensor, innermost: bool) -> Tensor:
    """Return images (n, c, h, w) with channels innermost or in the default format; other inputs unchanged."""
    if inputs.dim() != 4:
        return inputs
    return inputs.contiguous(memory_format=torch.channels_last if innermost else torch.contiguous_format)


def like_weights(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return images (n, c, h, w) in the memory format of a module's weights; other inputs unchanged."""
    return in_format(inputs, has_innermost(module))
