"""Biases for integer arithmetic: whole multiples of input step times weight step.

A processor that multiplies integers adds the bias to their 32-bit sums (Jacob et al., CVPR 2018, section 2.4), so
each runtime rounds it. With biases rounded here, the measured accuracy is that of the biases that run, and the
runtime has nothing left to round: on ResNet-20 in 8 bits, its sums differ from the module's only in the last
floating-point bits, not in the bias of every channel.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from leanfront.core.compressors.quantisation.activations import NAME
from leanfront.core.compressors.quantisation.quantisers import ActivationQuantiser, Quantised
from leanfront.core.compressors.structure.norms import BATCH_NORMS, inference_form


@torch.no_grad()
def round_biases(module: nn.Module, codes: Mapping[str, Quantised], norms: Mapping[str, str]) -> None:
    """Round, in place, the biases of all layers that have integer weights and calibrated integer inputs.

    If a norm folds into the layer, its shift is part of the bias, and the shift is changed.

    Args:
        module: the compressed model, in eval mode, not folded.
        codes: layer -> its integers and scales.
        norms: layer -> batch norm that folds into it.
    """
    modules = dict(module.named_modules())
    for name, quantised in codes.items():
        layer = modules[name]
        quantiser = getattr(layer, NAME, None)
        if not isinstance(quantiser, ActivationQuantiser) or quantiser.dynamic:
            continue
        own, norm = layer.bias, modules[norms[name]] if name in norms else None
        unit = quantised.scale.double() * quantiser.scale.double()
        if norm is None:
            if isinstance(own, Tensor) and own.shape == unit.shape:
                own.copy_(_rounded(own.double(), unit))
        elif isinstance(norm, BATCH_NORMS) and norm.affine:
            scale, shift = (each.double() for each in inference_form(norm))
            if isinstance(own, Tensor):
                shift = shift + own.double() * scale
            norm.bias.add_((_rounded(shift, unit * scale) - shift).to(norm.bias.dtype))


def _rounded(bias: Tensor, unit: Tensor) -> Tensor:
    """Round biases (channels,) to multiples of their unit; biases of 2^24 units or more stay."""
    steps = bias / unit
    return torch.where(steps.abs() < 2**24, steps.round() * unit, bias)
