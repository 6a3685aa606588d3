"""Methods of making the weights of a cut copy, which a configuration names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from leanfront.core.compressors.configuration import METHODS, Configuration, Sparsity
from leanfront.core.compressors.pruning.scores import weight_scores
from leanfront.core.compressors.pruning.sparsity import mask
from leanfront.core.compressors.quantisation.quantisers import Quantised, quantise_weight
from leanfront.core.compressors.refit.bank import choice_of
from leanfront.core.compressors.refit.context import CompressionContext
from leanfront.core.compressors.refit.solution import Solution
from leanfront.core.compressors.statistics.moments import Blocks
from leanfront.core.compressors.structure.kept_channels import KeptChannels
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.structure import Shape, nonzeros


@dataclass(frozen=True)
class Work:
    """A cut copy whose weights are to be made, in place.

    Args:
        module: copy of the dense model, cut.
        configuration: the canonical configuration.
        units: kept units of the cut groups.
        shapes: channel counts of the parts under the configuration.
        cuts: function that cuts another copy of the dense model in the same way.
    """

    module: nn.Module
    configuration: Configuration
    units: Mapping[str, tuple[int, ...]]
    shapes: Mapping[str, Shape]
    cuts: Callable[[nn.Module], None]

    @cached_property
    def modules(self) -> Mapping[str, nn.Module]:
        """The copy's modules by name."""
        return dict(self.module.named_modules())


@dataclass
class Made:
    """Integers and masks that a method made.

    Args:
        codes: layer -> integers and scales; only layers of 2..8 bits.
        masks: layer -> which weights are stored; only sparse layers.
    """

    codes: dict[str, Quantised] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)


def round_to_nearest(context: CompressionContext, work: Work) -> Made:
    """Zero the weights of least score, round the others, and re-estimate the norms."""
    made = Made()
    _plainly(context, work, made, work.configuration.sparsity, work.configuration.weight_bits)
    context.reestimate(work.module, work.cuts)
    return made


def stitch(context: CompressionContext, work: Work) -> Made:
    """Put the bank's entries together, and re-estimate the norms."""
    configuration, bank, structure = work.configuration, context.bank, context.structure
    kept = KeptChannels.of(structure, work.units)
    made = Made()
    for layer, measured in bank.moments.items():
        part, module = structure.parts[layer], work.modules[layer]
        bits, sparsity = configuration.weight_bits.get(layer), configuration.sparsity.get(layer)
        if bits is None and sparsity is None and layer not in kept.inputs:
            continue
        stored = nonzeros(part, work.shapes[layer], sparsity) if sparsity else 0
        choice = choice_of(structure, layer, kept, bits=bits, sparsity=sparsity, stored=stored)
        solutions = bank.entry(layer, choice)
        shift = bank.shift(layer, choice) if module.bias is not None else None
        rows = kept.rows(structure, layer)
        if part.kind == "depthwise":
            groups = kept.outputs.get(layer) if choice.groups is None else None
            solutions = [solution.taken(groups=groups) for solution in solutions]
            shift = shift if shift is None or groups is None else shift[list(groups)]
        elif rows is not None and choice.rows is None:
            solutions = [solution.taken(rows=rows) for solution in solutions]
            shift = None if shift is None else shift[list(kept.outputs[layer])]
        blocks = replace(measured.blocks, groups=len(solutions[0].weight))
        if shift is not None:
            assert isinstance(module.bias, Tensor)
            module.bias.add_(shift.to(module.bias))
        _settle(made, layer, module, blocks, solutions, bits)
    _unmeasured(context, work, made, set(bank.moments))
    context.reestimate(work.module, work.cuts)
    return made


def refit(context: CompressionContext, work: Work) -> Made:
    """Refit layer after layer on the compressed copy's own inputs, and update norms on the way."""
    made = Made()
    sequential = context.sequential
    # First, so that measured layers compensate for them.
    _unmeasured(context, work, made, set(sequential.layers))
    solved = sequential.apply(work.module, work.configuration, work.units, work.shapes)
    for layer, (blocks, solutions) in solved.items():
        bits = work.configuration.weight_bits.get(layer)
        _settle(made, layer, work.modules[layer], blocks, solutions, bits)
    _unmeasured(context, work, made, set(solved) | (set(context.structure.layers) - set(sequential.layers)))
    return made


MAKERS: dict[str, Callable[[CompressionContext, Work], Made]] = {
    METHODS["rounding"]: round_to_nearest,
    METHODS["bank"]: stitch,
    METHODS["sequential"]: refit,
}
"""Name of a method in configurations -> function that makes the weights."""


def _settle(
    made: Made,
    layer: str,
    module: nn.Module,
    blocks: Blocks,
    solutions: list[Solution],
    bits: int | None,
) -> None:
    """Write a layer's solution into its module and keep its integers and mask."""
    weight = weight_of(module)
    weight.copy_(blocks.join([s.weight for s in solutions], weight))
    first = solutions[0]
    if first.codes is not None and first.scale is not None:
        assert bits is not None
        codes = blocks.join([s.codes for s in solutions if s.codes is not None], weight)
        made.codes[layer] = Quantised(codes.to(torch.int8), first.scale.flatten(), bits)
    if first.mask is not None:
        made.masks[layer] = blocks.join([s.mask for s in solutions if s.mask is not None], weight)


def _unmeasured(context: CompressionContext, work: Work, made: Made, measured: set[str]) -> None:
    """Sparsify and round plainly the layers that were not measured."""
    sparsity = {k: v for k, v in work.configuration.sparsity.items() if k not in measured}
    bits = {k: v for k, v in work.configuration.weight_bits.items() if k not in measured}
    _plainly(context, work, made, sparsity, bits)


def _plainly(
    context: CompressionContext,
    work: Work,
    made: Made,
    sparsity: Mapping[str, Sparsity],
    bits: Mapping[str, int],
) -> None:
    if sparsity:
        made.masks.update(_sparsify(context, work, sparsity))
    for layer, width in bits.items():
        weight = weight_of(work.modules[layer])
        if width == 16:
            weight.copy_(weight.half())
            continue
        axis = 1 if context.structure.parts[layer].transposed else 0
        quantised = quantise_weight(weight, width, axis=axis)
        weight.copy_(quantised.dequantise())
        made.codes[layer] = quantised


def _sparsify(
    context: CompressionContext, work: Work, sparsities: Mapping[str, Sparsity]
) -> dict[str, Tensor]:
    configuration = work.configuration
    # The scores are those of the dense weights. In the place of a copy's weights they are cut like these.
    shadow = context.dense()
    scored = dict(shadow.named_modules())
    for layer in sparsities:
        scores = weight_scores(context.saliency, layer, configuration.criterion, configuration.seed)
        weight_of(scored[layer]).copy_(scores)
    work.cuts(shadow)
    masks = {}
    for layer, sparsity in sparsities.items():
        part = context.structure.parts[layer]
        weight = weight_of(work.modules[layer])
        kept = nonzeros(part, work.shapes[layer], sparsity)
        scores = weight_of(scored[layer]).cpu()
        masks[layer] = mask(scores, sparsity, kept, axis=0 if part.transposed else 1)
        weight.mul_(masks[layer].to(weight.device))
    return masks
