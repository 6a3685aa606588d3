"""Sequential refits: every layer is fitted to the dense model's outputs, on the inputs of the compressed model.

The bank's entries reproduce single layers on dense inputs. Here a few hundred images pass once through the
compressed model. When they reach a layer, its inputs x are the ones that it will really have. Its weights become the
least-squares solution for the dense model's outputs y, W = E[y x^T] E[x x^T]^-1, and are then sparsified and rounded
under E[x x^T]. Later layers thus compensate for the errors of earlier ones.

Three refinements, each measured on ResNet-20 (docs/benchmarks.md):

- A ridge pulls W towards the bank's weights: a few hundred images alone do not determine it.
- Norms behind a layer keep the dense variances, and only their means change: the output of the regression W has less
  variance than y, and stretching it would amplify its noise.
- If a layer's output is added to another map, as at the end of a residual block, the layer also compensates for the
  error of that map.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.quantisation.activations import attach, quantiser_of
from leanfront.core.compressors.quantisation.quantisers import ActivationQuantiser
from leanfront.core.compressors.refit import solvers
from leanfront.core.compressors.refit.additions import Additions, Sum, independent
from leanfront.core.compressors.refit.bank import Bank, choice_of
from leanfront.core.compressors.refit.solution import Solution, solve_runs, take_rows
from leanfront.core.compressors.statistics import linear_algebra
from leanfront.core.compressors.statistics.moments import (
    Blocks,
    Patches,
    at_places,
    measurable,
    positions_wanted,
)
from leanfront.core.compressors.structure.gradients import throughout
from leanfront.core.compressors.structure.kept_channels import KeptChannels
from leanfront.core.compressors.structure.modules import describe, weight_of
from leanfront.core.compressors.structure.norms import BATCH_NORMS
from leanfront.core.compressors.structure.structure import Shape, Structure, nonzeros

PULL = 0.1
"""Ridge towards the bank's weights, as a share of the mean input variance."""
STEEPEST = 10.0
"""Bound of a channel's sigma / gamma, in multiples of the median: a small gamma would amplify the error of a sum."""
IMAGES = 256
"""Maximum number of images of a pass: 512 are no better on ResNet-20 and take twice as long."""
ELEMENTS = 8_000_000
"""Maximum number of input elements of a pass, whose images are in memory at once: 53 of 224 x 224."""
FEWEST_IMAGES = 32


@dataclass
class Recording:
    """Outputs and statistics of the dense model on the calibration images.

    Args:
        places: layer -> positions of its output map that are read.
        outputs: layer -> its outputs there, (samples, outputs), bias included.
        sums: number of the addition -> (layer whose target holds the other operand, which operand it is).
        others: layer -> the other operand at its places, (samples, outputs).
        norms: norm that is not behind a measured layer -> mean and variance of its input's channels.
    """

    places: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    sums: dict[int, tuple[str, int]] = field(default_factory=dict)
    others: dict[str, Tensor] = field(default_factory=dict)
    norms: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Sequential:
    """Sequential refits of compressed copies of one dense model.

    Args:
        model: the dense model, in eval mode, on its device.
        structure: structure of the model.
        bank: layer bank of the model.
        norms: layer -> batch norm that reads its unchanged output.
        inputs: calibration images (n, ...) on the device, one batch.
    """

    def __init__(
        self, model: nn.Module, structure: Structure, bank: Bank, norms: Mapping[str, str], inputs: Tensor
    ) -> None:
        self.structure = structure
        self.bank = bank
        self.inputs = inputs
        modules = dict(model.named_modules())
        # A norm without running statistics has nothing to correct; one behind several layers has no single
        # correction.
        readers = Counter(norms.values())
        self.norms = {
            layer: norm
            for layer, norm in norms.items()
            if readers[norm] == 1 and modules[norm].running_mean is not None
        }
        self.layers = [name for name in measurable(structure, modules) if name in bank.moments]
        self._per_image = {
            name: positions_wanted(bank.moments[name].blocks, len(inputs)) for name in self.layers
        }
        self.recording = self._record(model, modules)

    def apply(
        self,
        module: nn.Module,
        configuration: Configuration,
        units: Mapping[str, tuple[int, ...]],
        shapes: Mapping[str, Shape],
    ) -> dict[str, tuple[Blocks, list[Solution]]]:
        """Refit, sparsify and round every measured layer of a cut module, in place.

        Args:
            module: copy of the dense model, cut.
            configuration: the canonical configuration.
            units: kept units of the cut groups.
            shapes: channel counts of the parts under the configuration.

        Returns:
            Layer -> its blocks and the solutions of their runs; without layers that the pass did not reach.
        """
        return _Pass(self, module, configuration, KeptChannels.of(self.structure, units), shapes).run()

    def patches(self, layer: str, module: nn.Module) -> Patches:
        """Return a reader of a layer's inputs, dense or cut, at the same positions every time."""
        part = describe(layer, module)
        assert part is not None
        seed = int.from_bytes(hashlib.blake2b(layer.encode(), digest_size=7).digest(), "big")
        generator = torch.Generator().manual_seed(seed)
        return Patches(module, Blocks.of(part), self._per_image[layer], generator)

    def _record(self, model: nn.Module, modules: Mapping[str, nn.Module]) -> Recording:
        found = Recording(sums=self._sums(model, modules))
        fed = {self.norms[layer] for layer in self.layers if layer in self.norms}

        def visit(seen: Sum) -> None:
            layer, operand = found.sums.get(seen.number, ("", 0))
            if layer in found.places:
                last = isinstance(modules[layer], nn.Linear)
                other = at_places(seen.operands[1 - operand], found.places[layer], last=last)
                found.others[layer] = other.clone()

        additions = Additions(visit)

        def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                if name in found.outputs:
                    return  # a layer that is called again keeps the weights of its first call
                with additions.quiet():
                    reader = self.patches(name, module)
                    places = reader.places(reader.positions(output))
                    found.places[name] = places
                    found.outputs[name] = reader.outputs(output, places).float().clone()

            return hook

        def before(name: str) -> Callable[[nn.Module, Any], None]:
            def hook(_: nn.Module, inputs: Any) -> None:
                with additions.quiet():
                    found.norms.setdefault(name, _channel_statistics(inputs[0]))

            return hook

        layers = {name: modules[name] for name in self.layers}
        handles = [module.register_forward_hook(after(name)) for name, module in layers.items()]
        handles += additions.watch(modules, layers, self.norms)
        for name, module in modules.items():
            if isinstance(module, BATCH_NORMS) and name not in fed and module.running_mean is not None:
                handles.append(module.register_forward_pre_hook(before(name)))
        try:
            with torch.no_grad(), additions:
                model(self.inputs)
        finally:
            for handle in handles:
                handle.remove()
        return found

    def _sums(self, model: nn.Module, modules: Mapping[str, nn.Module]) -> dict[int, tuple[str, int]]:
        """Choose the layers that compensate for the other operand of a sum: number of the sum -> (layer, operand).

        Of two layers the wider one is chosen, and each layer at most once. The other operand must not depend on the
        layer itself, as in a block that adds to its own input: it has to be known before the layer is solved.
        """
        found: dict[int, tuple[str, int]] = {}
        outputs: dict[str, Tensor] = {}

        def visit(seen: Sum) -> None:
            ways = []
            for operand, layer in enumerate(seen.layers):
                taken = any(layer == other for other, _ in found.values())
                # A layer wider than one block has no regression of its own.
                if layer is None or taken or len(self.bank.moments[layer].blocks.runs) > 1:
                    continue
                if independent(seen.operands[1 - operand], (outputs[layer], seen.operands[operand])):
                    ways.append((max(self.bank.moments[layer].blocks.widths), layer, operand))
            if ways:
                found[seen.number] = max(ways)[1:]

        def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_: nn.Module, inputs: Any, output: Any) -> None:
                outputs.setdefault(name, output)

            return hook

        additions = Additions(visit)
        layers = {name: modules[name] for name in self.layers}
        handles = [module.register_forward_hook(after(name)) for name, module in layers.items()]
        handles += additions.watch(modules, layers, self.norms)
        try:
            with torch.inference_mode(False), throughout(), additions:
                few = self.inputs[:2].clone().requires_grad_(self.inputs.is_floating_point())
                model(few.clone())
        finally:
            for handle in handles:
                handle.remove()
        return found


class _Pass:
    """One pass through one compressed module."""

    def __init__(
        self,
        owner: Sequential,
        module: nn.Module,
        configuration: Configuration,
        kept: KeptChannels,
        shapes: Mapping[str, Shape],
    ) -> None:
        self._owner = owner
        self._module = module
        self._modules = dict(module.named_modules())
        self._configuration = configuration
        self._kept = kept
        self._shapes = shapes
        self._additions = Additions(self._visit)
        self._deferred = set(owner.recording.others)
        self._waiting: dict[str, Tensor] = {}
        self._solved: dict[str, tuple[Blocks, list[Solution]]] = {}
        self._reached: set[str] = set()
        self._quantisers: dict[str, ActivationQuantiser] = {}
        # Layers that are rounded plainly were changed before the pass.
        plain = set(owner.structure.layers) - set(owner.layers)
        self._changed = not plain.isdisjoint(
            {*configuration.weight_bits, *configuration.sparsity, *kept.inputs}
        )

    def run(self) -> dict[str, tuple[Blocks, list[Solution]]]:
        owner, modules = self._owner, self._modules
        layers = {name: modules[name] for name in owner.layers if name in owner.recording.outputs}
        handles = [module.register_forward_pre_hook(self._before(name)) for name, module in layers.items()]
        handles += self._additions.watch(modules, layers, owner.norms)
        for name in owner.recording.norms:
            handles.append(modules[name].register_forward_pre_hook(self._before_norm(name)))
        try:
            with torch.no_grad(), self._additions:
                self._module(owner.inputs)
        finally:
            for handle in handles:
                handle.remove()
        with torch.no_grad():
            # Layers whose sum was never computed: the compressed model took another path than the dense one.
            for layer, inputs in list(self._waiting.items()):
                self._solve(layer, inputs, None)
        for layer, quantiser in self._quantisers.items():
            attach(modules[layer], quantiser)
        return self._solved

    def _before(self, layer: str) -> Callable[[nn.Module, Any], Any]:
        def hook(_: nn.Module, inputs: Any) -> Any:
            if layer in self._reached:
                # Called again, by the model or by `_visit`; its quantiser stays the same.
                again = self._quantisers.get(layer)
                return None if again is None else (again(inputs[0]), *inputs[1:])
            self._reached.add(layer)
            with self._additions.quiet():
                first = self._quantised(layer, inputs[0])
                if layer in self._deferred:
                    self._waiting[layer] = first
                else:
                    self._solve(layer, first, None)
            return (first, *inputs[1:])

        return hook

    def _quantised(self, layer: str, inputs: Tensor) -> Tensor:
        """Return the layer's input, quantised if configured, so that its weights compensate for the quantisation."""
        bits = self._configuration.activation_bits.get(layer)
        if bits is None:
            return inputs
        self._changed = True
        self._quantisers[layer] = quantiser_of(inputs, self._configuration.activation_range, bits)
        quantised: Tensor = self._quantisers[layer](inputs)
        return quantised

    def _visit(self, seen: Sum) -> None:
        """Solve a waiting layer when its sum is computed, given the error of the other operand, and run it again."""
        layer, operand = self._owner.recording.sums.get(seen.number, (None, 0))
        if layer is None or layer not in self._waiting or seen.layers[operand] != layer:
            return
        other = seen.operands[1 - operand]
        module = self._modules[layer]
        with self._additions.quiet():
            inputs = self._waiting.pop(layer)
            recorded = self._owner.recording.others[layer]
            places = self._owner.recording.places[layer]
            there = at_places(other, places, last=isinstance(module, nn.Linear)).float()
            self._solve(layer, inputs, self._outputs(layer, recorded) - there)
            mine: Tensor = module(inputs)
            if layer in self._owner.norms:
                mine = self._modules[self._owner.norms[layer]](mine)
            # In place, since the model may go on with the operand itself, as after `x.add_(y)`.
            seen.operands[operand].copy_(mine)

    def _outputs(self, layer: str, values: Tensor) -> Tensor:
        """Return the columns of the outputs that stay."""
        kept = self._kept.outputs.get(layer)
        return values if kept is None else values[:, list(kept)]

    def _solve(self, layer: str, inputs: Tensor, lacking: Tensor | None) -> None:
        owner, configuration = self._owner, self._configuration
        module = self._modules[layer]
        bits, sparsity = configuration.weight_bits.get(layer), configuration.sparsity.get(layer)
        own = bits is not None or sparsity is not None or layer in self._kept.inputs
        if not own and not self._changed:
            return
        self._changed = True
        part = owner.structure.parts[layer]
        stored = nonzeros(part, self._shapes[layer], sparsity) if sparsity else 0
        reader = owner.patches(layer, module)
        target = self._outputs(layer, owner.recording.outputs[layer])
        norm = self._modules[owner.norms[layer]] if layer in owner.norms else None
        if lacking is not None:
            target = target + lacking * _steepness(norm, target.shape[1], target.device)
        runs = [rows.cpu() for rows in reader.read(inputs.float())]
        target = target.cpu()
        anchor = self._anchor(layer, reader.blocks)
        centred = owner.bank.centred[layer]
        means = [rows.mean(1, keepdim=True) for rows in runs]
        if len(runs) == 1:
            weights, grams = self._regressed(runs[0], means[0], target, anchor[0], centred)
        else:
            weights = anchor
            grams = [_gram(rows - mean if centred else rows) for rows, mean in zip(runs, means, strict=True)]
        solutions = solve_runs(
            weights,
            [linear_algebra.damp(gram) for gram in grams],
            bits=bits,
            sparsity=sparsity,
            kept=stored,
            kernel=reader.blocks.kernel,
        )
        weight = weight_of(module)
        weight.copy_(reader.blocks.join([s.weight for s in solutions], weight))
        self._shift(layer, module, norm, means, [s.weight for s in solutions], target.mean(0))
        self._solved[layer] = (reader.blocks, solutions)

    def _anchor(self, layer: str, blocks: Blocks) -> list[Tensor]:
        """Return the bank's refitted weights for the kept inputs and rows, in the cut layer's runs."""
        # The bank's runs are the dense layer's.
        return list(torch.split(torch.cat(self._banked(layer), dim=2), blocks.widths, dim=2))

    def _banked(self, layer: str) -> list[Tensor]:
        owner = self._owner
        choice = choice_of(owner.structure, layer, self._kept, bits=None, sparsity=None, stored=0)
        found = [solution.weight for solution in owner.bank.entry(layer, choice)]
        if owner.structure.parts[layer].kind == "depthwise":
            kept = self._kept.outputs.get(layer)
            return found if kept is None else [weight[list(kept)] for weight in found]
        rows = self._kept.rows(owner.structure, layer)
        return found if rows is None else [take_rows(weight, rows) for weight in found]

    @staticmethod
    def _regressed(
        rows: Tensor, mean: Tensor, target: Tensor, anchor: Tensor, centred: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        groups, samples, width = rows.shape
        wanted = target.reshape(samples, groups, -1).transpose(0, 1)
        if centred:
            rows, wanted = rows - mean, wanted - wanted.mean(1, keepdim=True)
        gram = _gram(rows)
        level = PULL * gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
        cross = wanted.transpose(1, 2) @ rows / samples + level[:, None, None] * anchor
        pulled = gram + level[:, None, None] * torch.eye(width)
        return [solvers.regress(cross, pulled)], [gram]

    def _shift(
        self,
        layer: str,
        module: nn.Module,
        norm: nn.Module | None,
        means: list[Tensor],
        weights: list[Tensor],
        target: Tensor,
    ) -> None:
        """Correct the bias, or else the mean of the norm behind, for the offset of the new weights."""
        now = sum((w @ m.transpose(1, 2)).flatten() for w, m in zip(weights, means, strict=True))
        assert isinstance(now, Tensor)
        bias = module.bias
        if isinstance(bias, Tensor):
            bias.copy_((target - now).to(bias))
        elif norm is not None:
            assert isinstance(norm.running_mean, Tensor)
            norm.running_mean.add_((now - target).to(norm.running_mean))

    def _before_norm(self, name: str) -> Callable[[nn.Module, Any], None]:
        """Return a hook that updates a norm that is not behind a measured layer by the statistics of its input."""
        done = False

        def hook(norm: nn.Module, inputs: Any) -> None:
            nonlocal done
            if done or (not self._changed and name not in self._kept.inputs):
                return
            done = True
            with self._additions.quiet():
                mean, variance = self._owner.recording.norms[name]
                kept = self._kept.inputs.get(name)
                if kept is not None:
                    mean, variance = mean[list(kept)], variance[list(kept)]
                now_mean, now_variance = _channel_statistics(inputs[0])
                assert isinstance(norm.running_mean, Tensor)
                assert isinstance(norm.running_var, Tensor)
                norm.running_mean.add_(now_mean - mean)
                share = torch.where(variance > 0, now_variance / variance, torch.ones_like(variance))
                norm.running_var.mul_(share)

        return hook


def _gram(rows: Tensor) -> Tensor:
    """Return E[x x^T] of (groups, samples, width)."""
    return rows.transpose(1, 2) @ rows / rows.shape[1]


def _steepness(norm: nn.Module | None, channels: int, device: torch.device) -> Tensor:
    """Return sigma / gamma of each channel, (channels,), which converts an output of the norm to its input."""
    if norm is None:
        return torch.ones(channels, device=device)
    variance, scale = norm.running_var, norm.weight
    assert isinstance(variance, Tensor)
    eps = norm.eps
    assert isinstance(eps, float)
    gamma = scale if isinstance(scale, Tensor) else torch.ones_like(variance)
    steep = (variance + eps).sqrt() / gamma
    bound = STEEPEST * steep.abs().median()
    return torch.where(steep.isfinite(), steep, torch.zeros_like(steep)).clamp(-bound, bound)


def _channel_statistics(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of every channel, (channels,)."""
    others = [d for d in range(inputs.dim()) if d != 1]
    variance, mean = torch.var_mean(inputs.float(), dim=others, correction=0)
    return mean, variance
