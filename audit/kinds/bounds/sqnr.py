"""Signal-to-quantisation-noise ratios of layers' weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leanfront.core.compressors import Compressed, Structure
from leanfront.core.compressors.structure.modules import weight_of

WIDEST_INTEGER = 8


def sqnr(weight: Tensor, approximation: Tensor) -> float:
    """Compute 10 log10(sum w^2 / sum (w - w')^2), in dB.

    Returns:
        The ratio, infinity if nothing changed, or NaN if there is no signal.
    """
    exact, error = weight.detach().double(), (weight - approximation).detach().double()
    signal, noise = float(exact.square().sum()), float(error.square().sum())
    if signal == 0:
        return math.nan
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


def absmax(weight: Tensor, bits: int, axis: int = 0) -> Tensor:
    """Round to the 2^bits - 1 levels between plus and minus the largest weight of each output channel.

    Args:
        weight: any shape.
        bits: 2 or more.
        axis: axis of the output channels.
    """
    others = [each for each in range(weight.dim()) if each != axis]
    top = weight.abs().amax(dim=others, keepdim=True) if others else weight.abs()
    step = top / (2 ** (bits - 1) - 1)
    step = torch.where(step > 0, step, torch.ones_like(step))
    return (weight / step).round() * step


@dataclass(frozen=True)
class LayerNoise:
    """The change of one layer's weights by compression.

    Args:
        layer: name of the layer.
        bits: bits of a weight; 32 if it is not rounded.
        zeros: share of weights that are 0.
        sqnr: SQNR, dB; infinite if nothing changed.
        absmax: SQNR of plain rounding by `absmax`, dB; None unless every weight is rounded to an integer.
        gain: SQNR of the layer's own rounding above that of plain rounding, dB.
        mean_square: mean squared error of a weight.
        mean_absolute: mean absolute error of a weight.
        signal: mean square of the dense weights.
    """

    layer: str
    bits: int
    zeros: float
    sqnr: float
    absmax: float | None
    gain: float | None
    mean_square: float
    mean_absolute: float
    signal: float


def layer_noise(compressed: Compressed, structure: Structure, dense: nn.Module) -> dict[str, LayerNoise]:
    """Measure the noise of every layer that kept all channels; in other layers weights cannot be matched.

    Args:
        compressed: compressed version of the dense model.
        structure: structure of the dense model.
        dense: the dense model.
    """
    configuration = compressed.configuration
    own, before = dict(compressed.module.named_modules()), dict(dense.named_modules())
    found = {}
    for layer in structure.layers:
        weight, rounded = (weight_of(modules[layer]).detach().cpu() for modules in (before, own))
        if weight.shape == rounded.shape:
            bits = configuration.weight_bits.get(layer, 32)
            whole = bits <= WIDEST_INTEGER and layer not in configuration.sparsity
            axis = 1 if structure.parts[layer].transposed else 0
            found[layer] = _noise(layer, weight, rounded, bits, axis if whole else None)
    return found


def _noise(layer: str, weight: Tensor, rounded: Tensor, bits: int, axis: int | None) -> LayerNoise:
    error = (weight.double() - rounded.double()).abs()
    own = sqnr(weight, rounded)
    plain = None if axis is None else sqnr(weight, absmax(weight, bits, axis))
    return LayerNoise(
        layer=layer,
        bits=bits,
        zeros=float((rounded == 0).double().mean()),
        sqnr=own,
        absmax=plain,
        gain=None if plain is None else own - plain,
        mean_square=float(error.square().mean()),
        mean_absolute=float(error.mean()),
        signal=float(weight.double().square().mean()),
    )


def overall(noises: Mapping[str, LayerNoise], weights: Mapping[str, int]) -> float:
    """Compute the SQNR of several layers together, dB.

    Args:
        noises: noise of each layer.
        weights: number of weights of each layer.
    """
    signal = sum(each.signal * weights[name] for name, each in noises.items())
    noise = sum(each.mean_square * weights[name] for name, each in noises.items())
    if signal == 0:
        return math.nan
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)
