"""Folding of batch norms into the layers before them: the same outputs, a sixth less work on ResNet-20."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.norms import BATCH_NORMS, inference_form

TOLERANCE = 1e-3
"""Largest difference of a folded model's outputs, as a share of the largest output."""


def fold(module: nn.Module, norms: Mapping[str, str]) -> None:
    """Fold batch norms into layers, in place; weights then no longer lie on their quantisers' grids.

    Args:
        module: the model, in eval mode.
        norms: layer with output channels first -> batch norm that is the only reader of its output.
    """
    modules = dict(module.named_modules())
    with torch.no_grad():
        for layer, name in norms.items():
            weight, norm = weight_of(modules[layer]), modules[name]
            assert isinstance(norm, BATCH_NORMS)
            scale, shift = inference_form(norm)
            bias = modules[layer].bias
            if bias is not None:
                shift = shift + bias * scale
            weight.mul_(scale.reshape(-1, *[1] * (weight.dim() - 1)))
            modules[layer].bias = nn.Parameter(shift, requires_grad=False)
            parent, _, leaf = name.rpartition(".")
            setattr(modules[parent], leaf, nn.Identity())


def folds(module: nn.Module, norms: Mapping[str, str], example_input: Tensor) -> bool:
    """Whether folding leaves the outputs unchanged.

    It changes them if modules other than the norm read a layer's output, or if a module is called twice.

    Args:
        module: a copy of the model that may be changed, in eval mode.
        norms: as for `fold`.
        example_input: a batch that the model accepts.
    """
    with torch.no_grad():
        before = module(example_input)
        fold(module, norms)
        after = module(example_input)
    return bool((after - before).abs().max() <= TOLERANCE * before.abs().max())
