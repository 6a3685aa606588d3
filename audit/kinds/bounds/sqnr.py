"""How much of a layer's weights rounding leaves: signal-to-quantisation-noise ratios."""

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
    """10 log10(sum w^2 / sum (w - w')^2), in dB.

    Returns:
        Infinity where nothing changed, NaN where there is no signal.
    """
    exact, error = weight.detach().double(), (weight - approximation).detach().double()
    signal, noise = float(exact.square().sum()), float(error.square().sum())
    if signal == 0:
        return math.nan
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


def absmax(weight: Tensor, bits: int, axis: int = 0) -> Tensor:
    """Plain rounding to the 2^bits - 1 levels between plus and minus each output channel's largest weight.

    Args:
        weight: any shape.
        bits: 2 or more.
        axis: of the output channels.
    """
    others = [each for each in range(weight.dim()) if each != axis]
    top = weight.abs().amax(dim=others, keepdim=True) if others else weight.abs()
    step = top / (2 ** (bits - 1) - 1)
    step = torch.where(step > 0, step, torch.ones_like(step))
    return (weight / step).round() * step


@dataclass(frozen=True)
class LayerNoise:
    """What compression did to one layer's weights.

    Args:
        layer: its name.
        bits: of a weight: 32 where it is not rounded.
        zeros: share of weights that are 0.
        sqnr: dB; infinite where nothing changed.
        absmax: dB of plain rounding within each output channel's largest weight; None unless every weight is
            rounded to an integer.
        gain: by how much the layer's own rounding is better, dB.
        mean_square: error a weight.
        mean_absolute: error a weight.
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
    """Of every layer that kept all of its channels: of others nothing says which weight is which.

    Args:
        compressed: of the dense model.
        structure: of it.
        dense: the model itself.
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
    """SQNR of several layers together, dB.

    Args:
        noises: of each.
        weights: how many each has.
    """
    signal = sum(each.signal * weights[name] for name, each in noises.items())
    noise = sum(each.mean_square * weights[name] for name, each in noises.items())
    if signal == 0:
        return math.nan
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)
