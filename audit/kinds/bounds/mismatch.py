"""Bound on how often rounding changes an answer (Sakr et al. 2017), from gradients of the dense model."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors import Compressed, Structure
from leanfront.core.compressors.quantisation.activations import NAME
from leanfront.core.compressors.quantisation.quantisers import ActivationQuantiser
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.errors import EvaluationError

MOST_CLASSES = 64
"""Largest number of other classes in the sum, the nearest ones; with more classes the full sum is larger."""
TOGETHER = 16
"""Number of classes differentiated at once."""
WIDEST_INTEGER = 8


@dataclass(frozen=True)
class NoiseGains:
    """Cost of rounding noise for each sample: E of the bound, before the mean over samples and without the steps.

    For one tensor h it is the sum over i != f of |d(z_f - z_i) / dh|^2 / (24 (z_f - z_i)^2), with f the dense answer.

    Args:
        weights: layer -> (n, output channels) float64; the weights of a channel share one rounding step.
        activations: layer -> (n,) gains of the layer's input.
        classes: number of other classes in the sum.
    """

    weights: Mapping[str, Tensor]
    activations: Mapping[str, Tensor]
    classes: int


@dataclass(frozen=True)
class Steps:
    """Rounding steps of a compressed model.

    Args:
        weights: layer -> (output channels,) steps.
        activations: layer -> step.
    """

    weights: Mapping[str, Tensor]
    activations: Mapping[str, float]


@dataclass(frozen=True)
class MismatchBound:
    """The bound on the probability that the answer changes.

    Args:
        value: mean over the samples, each clipped at 1.
        weights: contribution of the weights before clipping, median over the samples; a few samples decide the mean.
        activations: contribution of the activations, likewise.
        clipped: share of samples clipped at 1.
        n: number of samples.
    """

    value: float
    weights: float
    activations: float
    clipped: float
    n: int


def mismatch_bound(gains: NoiseGains, steps: Steps) -> MismatchBound:
    """Compute the bound, the sum of Delta^2 E over all rounded tensors.

    Args:
        gains: gains of the dense model.
        steps: steps of the compressed model, without tensors that it does not round.

    Source: Sakr, Kim and Shanbhag, Analytical guarantees on numerical precision of deep neural networks, ICML 2017.
    """
    count = len(next(iter(gains.weights.values())))
    weights, activations = torch.zeros(2, count, dtype=torch.float64)
    for layer, step in steps.weights.items():
        weights = weights + gains.weights[layer] @ step.double().square()
    for layer, width in steps.activations.items():
        if layer in gains.activations:
            activations = activations + gains.activations[layer] * width**2
    whole = weights + activations
    return MismatchBound(
        value=float(whole.clamp(max=1).mean()),
        weights=float(weights.median()),
        activations=float(activations.median()),
        clipped=float((whole >= 1).double().mean()),
        n=count,
    )


def steps_of(compressed: Compressed, structure: Structure) -> Steps | str:
    """Return the steps of a compressed model, or why the bound does not apply to it."""
    configuration = compressed.configuration
    if configuration.channels or configuration.sparsity:
        return "pruning is no zero-mean noise"
    if configuration.recovery:
        return "it was trained after compression"
    if configuration.activation_bits and configuration.activation_range == "dynamic":
        return "activation steps differ from batch to batch"
    wide = [bits for bits in configuration.weight_bits.values() if bits > WIDEST_INTEGER]
    if wide:
        return "float16 has no single step"
    modules = dict(compressed.module.named_modules())
    activations = {}
    for layer in configuration.activation_bits:
        quantiser = getattr(modules[layer], NAME)
        assert isinstance(quantiser, ActivationQuantiser)
        activations[layer] = float(quantiser.scale)
    weights = {layer: codes.scale.detach().cpu() for layer, codes in compressed.codes.items()}
    return Steps(weights, activations)


def noise_gains(model: nn.Module, structure: Structure, inputs: Tensor) -> NoiseGains:
    """Differentiate the gaps between a sample's answer and the other classes by everything that may be rounded.

    Args:
        model: dense model in eval mode; it is copied.
        structure: structure of the model.
        inputs: (n, ...) on the model's device.

    Raises:
        EvaluationError: the model cannot be differentiated, or its gradients are not finite.
    """
    model = copy.deepcopy(model).requires_grad_(False)
    modules = dict(model.named_modules())
    weights = {layer: weight_of(modules[layer]).requires_grad_() for layer in structure.layers}
    found: dict[str, list[Tensor]] = defaultdict(list)
    read: dict[str, list[Tensor]] = defaultdict(list)
    classes = 0
    for place in range(len(inputs)):
        with torch.inference_mode(False), torch.enable_grad(), _reads(modules, structure, found):
            found.clear()
            try:
                logits = model(inputs[place : place + 1].clone())[0].double()
                classes = min(len(logits) - 1, MOST_CLASSES)
                order = logits.detach().argsort(descending=True, stable=True)
                gaps = logits[order[0]] - logits[order[1 : 1 + classes]]
                _add(read, gaps, weights, found, structure)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise EvaluationError(
                    f"the model cannot be differentiated by its weights ({error}): there is no mismatch bound of it"
                ) from error
    gathered = {key: torch.stack(each) for key, each in read.items()}
    if not all(bool((each >= 0).all()) for each in gathered.values()):
        raise EvaluationError("the model's gradients are NaN: there is no mismatch bound of it")
    return NoiseGains(
        {layer: gathered[f"w/{layer}"] for layer in weights},
        {key[2:]: each for key, each in gathered.items() if key.startswith("a/")},
        classes,
    )


def _add(
    read: dict[str, list[Tensor]],
    gaps: Tensor,
    weights: Mapping[str, Tensor],
    points: Mapping[str, list[Tensor]],
    structure: Structure,
) -> None:
    """Add the gains of one sample."""
    if not gaps.requires_grad:
        raise RuntimeError("no gradient passes through it")
    uses = [(layer, tensor) for layer, tensors in points.items() for tensor in tensors]
    wanted = [*weights.values(), *(tensor for _, tensor in uses)]
    share = 1 / (24 * gaps.detach().square())  # infinite at a tie, where the least noise changes the answer
    total: dict[str, Tensor] = {}
    each_gap = torch.eye(len(gaps), dtype=gaps.dtype, device=gaps.device)
    for start in range(0, len(gaps), TOGETHER):
        part, scale = each_gap[start : start + TOGETHER], share[start : start + TOGETHER]
        own = torch.autograd.grad(
            gaps, wanted, part, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        for (layer, weight), gradient in zip(weights.items(), own, strict=False):
            axis = 1 if structure.parts[layer].transposed else 0
            gain = _channelwise(gradient, scale, weight, axis)
            total[f"w/{layer}"] = total.get(f"w/{layer}", 0) + gain
        for (layer, tensor), gradient in zip(uses, own[len(weights) :], strict=True):
            gain = _channelwise(gradient, scale, tensor[None], 0).sum()
            total[f"a/{layer}"] = total.get(f"a/{layer}", 0) + gain
    for key, each in total.items():
        read[key].append(each.cpu())


def _channelwise(gradient: Tensor | None, scale: Tensor, of: Tensor, axis: int) -> Tensor:
    """Sum the squared gradients of a tensor over classes, channel by channel.

    Args:
        gradient: (classes, ...), or None if the answer does not depend on the tensor.
        scale: (classes,) factors.
        of: the tensor.
        axis: axis of its channels.
    """
    if gradient is None:
        return torch.zeros(of.shape[axis], dtype=torch.float64, device=of.device)
    rows = gradient.reshape(len(scale), *of.shape).movedim(axis + 1, 1)
    squares = rows.flatten(2).double().square().sum(2)
    # A gradient of 0 costs nothing even at a tie.
    return torch.where(squares > 0, squares * scale[:, None], torch.zeros_like(squares)).sum(0)


@contextmanager
def _reads(
    modules: Mapping[str, nn.Module], structure: Structure, points: dict[str, list[Tensor]]
) -> Iterator[None]:
    """Collect the inputs of layers at each of their calls, as a separate tensor for each use."""

    def hook(name: str) -> Any:
        def look(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            first = inputs[0]
            use = first.view_as(first) if first.requires_grad else first.detach().clone().requires_grad_()
            points[name].append(use)
            return (use, *inputs[1:])

        return look

    handles = [
        modules[layer].register_forward_pre_hook(hook(layer))
        for layer in structure.layers
        if layer not in structure.uncalled
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
