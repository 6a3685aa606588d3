"""Inputs of the pruning criteria: weights, gradients and moments of a dense model, each computed once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.pruning.removal import Removal, removal
from leanfront.core.compressors.statistics.cache import KeyPart
from leanfront.core.compressors.statistics.calibration import Calibration
from leanfront.core.compressors.statistics.derived import DerivedStatistics
from leanfront.core.compressors.statistics.moments import LayerMoments, collect, packed, unpacked
from leanfront.core.compressors.structure.gradients import differentiable
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.norms import BATCH_NORMS, keeps_function
from leanfront.core.compressors.structure.structure import ChannelGroup, Part, Structure
from leanfront.core.targets import Split, Target

GRADIENT_SAMPLES = 128
"""Number of calibration samples for gradients and the Fisher diagonal."""


@dataclass
class Saliency:
    """Weights, gradients and moments of one target's dense model, each computed when first used.

    Args:
        target: dense model and calibration split.
        structure: structure of the model.
        device: device on which gradients and moments are computed.
        calibration: calibration samples for the moments; `Calibration(target)` by default.
        shared: cache shared with other processes; none by default.
    """

    target: Target
    structure: Structure
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    calibration: Calibration | None = None
    shared: DerivedStatistics | None = None

    @cached_property
    def modules(self) -> Mapping[str, nn.Module]:
        """Dense modules by name."""
        return dict(self.target.model.named_modules())

    @cached_property
    def norms(self) -> Mapping[str, str]:
        """Layer -> batch norm that reads its unchanged output, found by running the model once."""
        return _norms_behind(self.target, self.structure)

    def weight(self, layer: str) -> Tensor:
        """Return a layer's dense weight, output channels first, float32 on the CPU."""
        return _outputs_first(
            self.structure.parts[layer], weight_of(self.modules[layer]).detach().float().cpu()
        )

    @cached_property
    def moments(self) -> Mapping[str, LayerMoments]:
        """Second moments of the measurable layers' inputs."""
        parts = (self._layers,)
        return unpacked(self._recall("moments", parts, lambda: packed(self._collected())), self.structure)

    def _collected(self) -> Mapping[str, LayerMoments]:
        calibration = self.calibration or Calibration(self.target, device=self.device)
        model = copy.deepcopy(self.target.model).to(self.device).eval()
        model.requires_grad_(False)
        return collect(model, self.structure, calibration.batches, calibration.samples)

    @property
    def _layers(self) -> str:
        layers = [part for part in self.structure.parts.values() if part.is_layer]
        return repr((list(self.structure.layers), layers))

    def _recall(
        self, what: str, parts: tuple[KeyPart, ...], make: Callable[[], Mapping[str, Tensor]]
    ) -> Mapping[str, Tensor]:
        return make() if self.shared is None else self.shared.recall(what, parts, make)

    @cached_property
    def centred(self) -> Mapping[str, bool]:
        """Layer -> whether a batch norm or a bias of its own absorbs offsets of its output."""
        return {
            layer: layer in self.norms or self.modules[layer].bias is not None
            for layer in self.structure.layers
        }

    def removal(self, group: ChannelGroup) -> Removal | None:
        """Return the order in which a group's units are removed; None if no consumer was measured."""
        if group.name not in self._removals:
            parts = (
                self._layers,
                repr(group),
                tuple(sorted(n for n, centred in self.centred.items() if centred)),
            )
            found = self._recall("removal", parts, lambda: self._removed(group))
            order, losses = tuple(found["order"].tolist()), tuple(found["losses"].tolist())
            self._removals[group.name] = Removal(order, losses) if order else None
        return self._removals[group.name]

    def _removed(self, group: ChannelGroup) -> dict[str, Tensor]:
        weights = {m.part: self.weight(m.part) for m in group.members if m.part in self.moments}
        found = removal(group, self.structure, weights, self.moments, self.centred)
        order, losses = ((), ()) if found is None else (found.order, found.losses)
        return {
            "order": torch.tensor(order, dtype=torch.long),
            "losses": torch.tensor(losses, dtype=torch.float64),
        }

    @cached_property
    def _removals(self) -> dict[str, Removal | None]:
        return {}

    @cached_property
    def _gradients(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        split = _gradient_samples(self.target)
        parts = (self._layers, *(split.tensors() if self.shared is not None else ()))

        def make() -> dict[str, Tensor]:
            first, second = _gradients(self.target, self.structure, self.device)
            named = {f"{layer}/gradient": value for layer, value in first.items()}
            return named | {f"{layer}/fisher": value for layer, value in second.items()}

        found = self._recall("gradients", parts, make)
        first, second = (
            {name.removesuffix(end): value for name, value in found.items() if name.endswith(end)}
            for end in ("/gradient", "/fisher")
        )
        return first, second

    def gradient(self, layer: str) -> Tensor:
        """Return the mean gradient of the cross-entropy with the true labels, in the shape of `weight`."""
        return self._gradients[0][layer]

    def fisher(self, layer: str) -> Tensor:
        """Return the mean squared gradient with labels drawn from the model's softmax: the true Fisher's diagonal."""
        return self._gradients[1][layer]


def _outputs_first(part: Part, weight: Tensor) -> Tensor:
    """Return a weight as (out, in / groups, ...); that of a transposed convolution is (in, out / groups, ...)."""
    if not part.transposed:
        return weight
    split = weight.reshape(part.groups, -1, *weight.shape[1:])
    return split.transpose(1, 2).flatten(0, 1)


def _norms_behind(target: Target, structure: Structure) -> dict[str, str]:
    model = copy.deepcopy(target.model)
    # References keep the tensors' ids from being reused; versions show later changes in place.
    produced: dict[int, tuple[str, Tensor, int]] = {}
    found: dict[str, str] = {}

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                produced[id(output)] = (name, output, output._version)

        return hook

    def before(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, inputs: Any) -> None:
            if not inputs or id(inputs[0]) not in produced:
                return
            layer, tensor, version = produced[id(inputs[0])]
            if tensor._version == version:
                found.setdefault(layer, name)

        return hook

    for name, module in model.named_modules():
        part = structure.parts.get(name)
        if part is not None and part.is_layer:
            module.register_forward_hook(after(name))
        elif isinstance(module, BATCH_NORMS) and (module.running_mean is None or keeps_function(module)):
            module.register_forward_pre_hook(before(name))
    # Tensors of inference mode have no versions.
    with torch.inference_mode(False), torch.no_grad():
        model(target.example_input.clone())
    return found


def _gradient_samples(target: Target) -> Split:
    count = min(GRADIENT_SAMPLES, len(target.calibration))
    positions = torch.linspace(0, len(target.calibration) - 1, count).round().long().tolist()
    return target.calibration.subset(positions)


def _gradients(
    target: Target, structure: Structure, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the mean gradient and the mean squared gradient per layer, over single calibration samples."""
    model = copy.deepcopy(target.model).to(device).eval()
    modules = dict(model.named_modules())
    weights = {name: weight_of(modules[name]) for name, part in structure.parts.items() if part.is_layer}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for weight in weights.values():
        weight.requires_grad_(True)
    split = _gradient_samples(target)
    count = len(split)
    generator = torch.Generator().manual_seed(0)
    first = {layer: torch.zeros_like(weight) for layer, weight in weights.items()}
    second = {layer: torch.zeros_like(weight) for layer, weight in weights.items()}
    ordered = list(weights.values())
    for inputs, labels in split.batches(1, device):
        # The caller may have disabled gradients.
        with torch.inference_mode(False), torch.enable_grad():
            logits = differentiable(model, inputs).float()
            drawn = torch.multinomial(logits.detach().softmax(1).cpu(), 1, generator=generator).flatten()
            true = torch.autograd.grad(
                nn.functional.cross_entropy(logits, labels), ordered, retain_graph=True, allow_unused=True
            )
            model_drawn = torch.autograd.grad(
                nn.functional.cross_entropy(logits, drawn.to(device)), ordered, allow_unused=True
            )
        for layer, gradient, sampled in zip(weights, true, model_drawn, strict=True):
            if gradient is not None:
                first[layer] += gradient / count
            if sampled is not None:
                second[layer] += sampled.square() / count
    parts = structure.parts
    return (
        {layer: _outputs_first(parts[layer], value.float().cpu()) for layer, value in first.items()},
        {layer: _outputs_first(parts[layer], value.float().cpu()) for layer, value in second.items()},
    )
