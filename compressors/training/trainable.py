"""Trainable form of a compressed module: latent weights that are rounded on every pass, with learned scales.

Weights and static activation ranges are learned as in LSQ (Esser et al., ICLR 2020): rounding lets the gradient
through, clipping stops it, and the step size has a gradient of its own. On every pass the scales are float16 values
and the integers are those of the packed file, so that nothing changes when training ends.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize

from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.quantisation.activations import NAME
from leanfront.core.compressors.quantisation.quantisers import (
    SMALLEST_SCALE,
    ActivationQuantiser,
    Quantised,
    affine,
    levels,
)
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.structure import Structure

LARGEST_SCALE = 65504.0


class _Levels(torch.autograd.Function):
    """round(x / s) s, clipped; the scale's gradient is LSQ's, times a factor."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, low: int, high: int, factor: Tensor) -> Tensor:
        ctx.save_for_backward(values, scale)
        ctx.low, ctx.high, ctx.factor = low, high, factor
        return _integers(values, scale, low, high).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        values, scale = ctx.saved_tensors
        steps = values / scale
        inside = (steps >= ctx.low) & (steps <= ctx.high)
        through = gradient * inside
        if not ctx.needs_input_grad[1]:
            return through, None, None, None, None
        error = steps.round().clamp_(ctx.low, ctx.high).sub_(steps.mul_(inside))
        own = (gradient * error).sum_to_size(scale.shape) * ctx.factor
        return through, own, None, None, None


class _Straight(torch.autograd.Function):
    """Values of the second tensor, with the gradient passed to the first."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rounded: Tensor) -> Tensor:
        return rounded.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _integers(values: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    return (values / scale).round_().clamp_(low, high)


class Masked(nn.Module):
    """Parametrisation that keeps weights outside a mask at zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the masked weight, in the latent weight's shape."""
        return latent * self.mask


class Halved(nn.Module):
    """Parametrisation that rounds weights to float16 values."""

    def forward(self, latent: Tensor) -> Tensor:
        """Return the rounded weight, float32, in the latent weight's shape."""
        rounded: Tensor = _Straight.apply(latent, latent.half().float())
        return rounded


class Levelled(nn.Module):
    """Parametrisation of weights as integers times a learned float16 scale per output channel.

    The scale is learned as a multiple of the first one, so that optimisers that move all parameters by equal amounts
    change it by the same share in every layer. Its gradient is scaled so that plain gradient descent moves it as in
    LSQ, by 1 / sqrt(weights of the channel x largest integer).

    Args:
        quantised: integers and scales at the beginning.
        axis: axis of the output channels.
    """

    first: Tensor

    def __init__(self, quantised: Quantised, axis: int) -> None:
        super().__init__()
        self.bits, self.axis = quantised.bits, axis
        self.shape = [1] * quantised.codes.dim()
        self.shape[axis] = -1
        self.register_buffer("first", quantised.scale.clone())
        self.multiple = nn.Parameter(torch.ones_like(quantised.scale))
        weights = quantised.codes.numel() / len(quantised.scale)
        self.factor = 1 / math.sqrt(max(1.0, weights * levels(self.bits)[1]))

    def scale(self) -> Tensor:
        """Return the scales, (channels,) float32 holding float16 values."""
        wanted = (self.first * self.multiple).clamp(SMALLEST_SCALE, LARGEST_SCALE)
        scale: Tensor = _Straight.apply(wanted, wanted.half().float())
        return scale

    def forward(self, latent: Tensor) -> Tensor:
        """Return the rounded weight, in the latent weight's shape."""
        factor = self.factor / self.first.square().view(self.shape)
        rounded: Tensor = _Levels.apply(latent, self.scale().view(self.shape), *levels(self.bits), factor)
        return rounded

    def quantised(self, latent: Tensor) -> Quantised:
        """Return the integers and scales that `forward` computes with."""
        scale = self.scale().detach()
        codes = _integers(latent.detach(), scale.view(self.shape), *levels(self.bits))
        return Quantised(codes.to(torch.int8), scale, self.bits, self.axis)


class LearnedInput(nn.Module):
    """Input quantiser of a layer with a learned range; a dynamic one takes the range of each batch.

    Args:
        quantiser: the quantiser at the beginning.
    """

    first: Tensor

    def __init__(self, quantiser: ActivationQuantiser) -> None:
        super().__init__()
        self.bits, self.dynamic = quantiser.bits, quantiser.dynamic
        self.zero_point = int(quantiser.zero_point)
        self.register_buffer("first", quantiser.scale.detach().clone().float())
        if not self.dynamic:
            self.multiple = nn.Parameter(torch.ones_like(self.first))

    def scale(self) -> Tensor:
        """Return the scale, () float32."""
        return (self.first * self.multiple).clamp_min(torch.finfo(torch.float32).tiny)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the rounded inputs, in their shape and type."""
        values = inputs.float()
        top = 2**self.bits - 1
        if self.dynamic:
            scale, zero_point = affine(values.detach().amin(), values.detach().amax(), self.bits)
            return self._rounded(values, scale, int(zero_point), torch.ones(())).to(inputs.dtype)
        factor = 1 / (math.sqrt(max(1, values[0].numel()) * top) * self.first.square())
        return self._rounded(values, self.scale(), self.zero_point, factor).to(inputs.dtype)

    def _rounded(self, values: Tensor, scale: Tensor, zero_point: int, factor: Tensor) -> Tensor:
        top = 2**self.bits - 1
        rounded: Tensor = _Levels.apply(values, scale, -zero_point, top - zero_point, factor)
        return rounded


def trainable(compressed: Compressed, structure: Structure, frozen: frozenset[str]) -> nn.Module:
    """Return a trainable copy of a compressed module, which computes the same.

    Args:
        compressed: the compressed model, not folded.
        structure: structure of the dense model.
        frozen: names of parameters that stay as they are.
    """
    module = copy.deepcopy(compressed.module)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.is_floating_point() and name not in frozen)
    for name in structure.layers:
        layer = module.get_submodule(name)
        for form in _forms(compressed, structure, name):
            parametrize.register_parametrization(layer, "weight", form.to(weight_of(layer).device))
        quantiser = layer._modules.get(NAME)
        if isinstance(quantiser, ActivationQuantiser):
            setattr(layer, NAME, LearnedInput(quantiser))
    return module


def _forms(compressed: Compressed, structure: Structure, name: str) -> list[nn.Module]:
    """Return the parametrisations of a layer's weight."""
    forms: list[nn.Module] = []
    if name in compressed.masks:
        forms.append(Masked(compressed.masks[name]))
    if compressed.configuration.weight_bits.get(name) == 16:
        forms.append(Halved())
    elif name in compressed.codes:
        forms.append(Levelled(compressed.codes[name], 1 if structure.parts[name].transposed else 0))
    return forms


@torch.no_grad()
def settled(learnt: nn.Module, start: Compressed, structure: Structure) -> Compressed:
    """Return a trained module in the form in which it is stored and run.

    Args:
        learnt: the module that `trainable` made of `start`, after training.
        start: the model before training; it is not changed.
        structure: structure of the dense model.
    """
    module = copy.deepcopy(start.module)
    codes: dict[str, Quantised] = {}
    tensors = state(learnt)
    for name, tensor in state(module).items():
        if name in tensors:
            tensor.copy_(tensors[name])
    for name in structure.layers:
        layer, plain = learnt.get_submodule(name), module.get_submodule(name)
        if parametrize.is_parametrized(layer, "weight"):
            weight = weight_of(layer)
            last = layer.parametrizations.weight[-1]  # type: ignore[union-attr, index]
            if isinstance(last, Levelled):
                codes[name] = last.quantised(_latent(layer))
                weight = codes[name].dequantise()
            weight_of(plain).copy_(weight)
        quantiser = layer._modules.get(NAME)
        if isinstance(quantiser, LearnedInput) and not quantiser.dynamic:
            plain.get_submodule(NAME).scale.copy_(quantiser.scale())  # type: ignore[operator]
    return Compressed(module, start.configuration, start.kept, codes, start.masks)


def _latent(layer: nn.Module) -> Tensor:
    """Return a layer's latent weight, masked."""
    chain: Any = layer.parametrizations
    latent: Tensor = chain.weight.original
    for form in list(chain.weight)[:-1]:
        latent = form(latent)
    return latent


def state(module: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers of a module without copying them; shared ones once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def fill_state(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a `state` into a module, in place."""
    with torch.no_grad():
        for name, tensor in state(module).items():
            tensor.copy_(tensors[name])
