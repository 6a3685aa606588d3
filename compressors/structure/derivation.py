"""Derivation of a model's structure: parts, layers and proven channel groups.

The dependency graph of torch-pruning (Fang et al., DepGraph, CVPR 2023) says which channels are coupled.
It can be wrong on a model that it does not understand, so every group is proven before it is offered: the
model with some of the group's channels cut must have the same outputs as the dense model in which every
consumer of these channels reads zeros in their place.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.structure.attention_heads import head_groups
from leanfront.core.compressors.structure.gradients import ANSWERS
from leanfront.core.compressors.structure.graph import dependency_groups
from leanfront.core.compressors.structure.modules import (
    channel_axis,
    describe,
    own_tensors,
    pruner_of,
    watch_inputs,
)
from leanfront.core.compressors.structure.slicing import cut_for_now
from leanfront.core.compressors.structure.structure import (
    CONSUMERS,
    ChannelGroup,
    Member,
    Part,
    Shape,
    Structure,
)
from leanfront.core.targets.forward import logits_alone
from leanfront.core.targets.model_copy import private_copy
from leanfront.core.targets.plain_layers import makes_weight
from leanfront.errors import TargetError

TOLERANCE = 1e-4
"""Largest relative error of a cut model against the silenced one."""
MEASURABLE = 1e-3
"""Silencing must change the output by at least this share, or agreement would prove nothing."""


BIASES = (1.0, 0.0)
"""Mean biases of the random weights used in proofs: positive biases activate rectifiers but saturate gates."""


@torch.inference_mode(False)
def derive(model: nn.Module, example_input: Tensor, *, seed: int = 0) -> Structure:
    """Derive the structure of a model: what can be cut and quantised, what is left alone, and why.

    Names refer to the model with opened attention (`targets/attention.py`), like a target's model.

    Args:
        model: any module; it is not changed.
        example_input: a batch that the model accepts, shape (n, ...).
        seed: seed that chooses the channels cut by the proofs.

    Raises:
        TargetError: the model does not run on the example input.
    """
    model = private_copy(model, example_input)
    example_input = _as_float(example_input)
    logits_alone(model, example_input)
    try:
        with torch.no_grad():
            model(example_input)
    except Exception as error:
        raise TargetError(f"the model does not run on its example input: {error}") from error
    parts, layers, exclusions = _parts(model)
    ways = [_way(model, inputs) for inputs in _varied(example_input, seed)]
    ways += _extreme_ways(model, example_input)
    uncalled = [name for name in layers if not any(name in way for way in ways)]
    unread = _unread(model, example_input, uncalled)
    exclusions += [(name, "activations", _UNREAD if name in unread else _READ_BY_PARENT) for name in uncalled]
    groups: dict[str, ChannelGroup] = {}
    found: Sequence[ChannelGroup] = ()
    if all(way == ways[0] for way in ways) and not (unread and _asks(model, example_input)):
        found, failures = _graph_groups(model, example_input, parts)
        exclusions += failures
    else:
        reason = "it may call other modules for other inputs, so nothing can be proven; bits still work"
        exclusions.append(("model", "channel groups", reason))
    prover = _Prover(model, example_input, parts, seed)
    for group in found:
        refuted = prover.refute([group])
        unheard = [member.part for member in group.members if member.side == "in" and member.part in uncalled]
        if refuted is None:
            groups[group.name] = group
        elif unheard:
            refuted = (
                f"{unheard[0]} reads its channels without being called with them, so nothing can be proven"
            )
        if refuted is not None:
            exclusions.append((group.name, "channel group", refuted))
    if len(groups) > 1 and prover.refute(list(groups.values())) is not None:
        groups = _jointly_proven(groups, prover, exclusions)
    ordered = {name: groups[name] for name in parts if name in groups}
    return Structure(
        parts,
        ordered,
        tuple(layers),
        tuple(exclusions),
        sum(p.numel() for p in model.parameters()),
        tuple(uncalled),
    )


@torch.inference_mode(False)
def skeleton(model: nn.Module, example_input: Tensor | None) -> Structure:
    """Derive parts, layers and channel groups as `derive` does, but without proofs: weights do not matter.

    It serves configurations whose groups were proven when they were made.

    Args:
        model: any module; it is not changed.
        example_input: a batch that the model accepts; without it no groups are found.

    Raises:
        TargetError: the model does not run on the example input.
    """
    model = private_copy(model, example_input)
    parts, layers, _ = _parts(model)
    found: Sequence[ChannelGroup] = ()
    if example_input is not None:
        example_input = _as_float(example_input)
        found, failures = _graph_groups(logits_alone(model, example_input), example_input, parts)
        if failures and failures[0][0] == "model":
            raise TargetError(f"the model's channel groups cannot be found: {failures[0][2]}")
    return Structure(parts, {group.name: group for group in found}, tuple(layers))


def _as_float(example_input: Tensor) -> Tensor:
    example_input = example_input.cpu()
    return example_input.float() if example_input.is_floating_point() else example_input


def _jointly_proven(
    groups: Mapping[str, ChannelGroup], prover: _Prover, exclusions: list[tuple[str, str, str]]
) -> dict[str, ChannelGroup]:
    """Return the groups that stay correct when cut together, tried in order."""
    together: dict[str, ChannelGroup] = {}
    for name, group in groups.items():
        if prover.refute([*together.values(), group]) is None:
            together[name] = group
        else:
            exclusions.append((name, "channel group", "cut together with other groups it changes the output"))
    return together


def _parts(model: nn.Module) -> tuple[dict[str, Part], list[str], list[tuple[str, str, str]]]:
    """Return all modules with tensors, the layers among them, and the exclusions from quantisation."""
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(f"{name}.{key}")
    parts: dict[str, Part] = {}
    layers: list[str] = []
    exclusions: list[tuple[str, str, str]] = []
    for name, module in model.named_modules():
        part = describe(name, module)
        if part is None:
            continue
        owned = {key: owners[id(p)] for key, p in module.named_parameters(recurse=False)}
        shared = {key: places for key, places in owned.items() if len(places) > 1}
        if shared:
            others = sorted(
                {p for places in shared.values() for p in places} - {f"{name}.{k}" for k in shared}
            )
            exclusions.append((name, part.kind, f"shares a tensor with {', '.join(others)}"))
            part = _tied(name, module, {k for k, places in shared.items() if places[0] != f"{name}.{k}"})
        elif part.is_layer:
            if makes_weight(module):
                exclusions.append(
                    (name, part.kind, "its weight is made of other tensors (weight norm, masks, ...)")
                )
                part = _tied(name, module, set())
            elif part.transposed and part.groups > 1:
                exclusions.append((name, part.kind, "is a grouped transposed convolution"))
            else:
                layers.append(name)
        elif part.kind == "other":
            exclusions.append(
                (name, type(module).__name__, "no rule for this module: its tensors keep their type")
            )
        parts[name] = part
    return parts, layers, exclusions


def _tied(name: str, module: nn.Module, elsewhere: set[str]) -> Part:
    """Return the part of a module with tied or derived tensors; a tied tensor is stored with its first owner."""
    tensors = {k: t for k, t in own_tensors(module).items() if k not in elsewhere}
    return Part(name, "other", 0, 0, tensors=tensors)


def _graph_groups(
    model: nn.Module, example_input: Tensor, parts: Mapping[str, Part]
) -> tuple[list[ChannelGroup], list[tuple[str, str, str]]]:
    """Return the groups of attention heads and of the dependency graph, and the failures."""
    heads, failures = head_groups(model, parts)
    try:
        graph, raw, lost = dependency_groups(model, example_input)
    except Exception as error:
        reason = f"the dependency graph could not be built ({type(error).__name__}: {error}); bits still work"
        return heads, [("model", "channel groups", reason), *failures]
    names = {module: name for name, module in model.named_modules()}
    failures += [(names.get(module, "?"), "channel group", reason) for module, reason in lost]
    parameters = {id(p): name for name, p in model.named_parameters()}
    groups = {group.name: group for group in heads}
    order = {name: position for position, name in enumerate(parts)}
    for items in raw:
        root = names.get(items[0].dep.target.module, "?")
        translated = _translate(items, names, parameters, parts, order, graph)
        if isinstance(translated, str):
            failures.append((root, "channel group", translated))
        elif translated.name not in groups:
            groups[translated.name] = translated
    return sorted(groups.values(), key=lambda group: order[group.name]), failures


def _translate(
    items: Any,
    names: Mapping[nn.Module, str],
    parameters: Mapping[int, str],
    parts: Mapping[str, Part],
    order: Mapping[str, int],
    graph: Any,
) -> ChannelGroup | str:
    """Translate a group of the graph into a `ChannelGroup`, or return the reason why it cannot be used."""
    sides: dict[tuple[str, str], list[tuple[int, int]]] = {}
    channels = len(items[0].idxs)
    for item in items:
        module = item.dep.target.module
        pairs = list(zip(item.root_idxs, item.idxs, strict=True))
        if isinstance(module, nn.Parameter):
            path = parameters.get(id(module), "?")
            sides.setdefault((path, "parameter"), []).extend(pairs)
            continue
        kind = type(module).__name__
        if kind == "_OutputOp":
            return "its channels are the model's outputs"
        if module not in names:
            continue  # an operator without tensors
        name = names[module]
        part = parts.get(name)
        if part is None or part.kind == "pointwise":
            continue
        if part.kind == "other" or pruner_of(module) is None:
            return f"passes through {name} ({kind}), which cannot be cut"
        side = "out" if graph.is_out_channel_pruning_fn(item.dep.handler) else "in"
        if part.kind not in CONSUMERS:
            side = "out"  # cut once, whichever side the graph names
        sides.setdefault((name, side), []).extend(pairs)
    if not any(side == "out" and parts[name].is_layer for name, side in sides):
        return "no layer produces its channels"
    if not any(side == "in" for _, side in sides):
        return "no layer reads its channels: they are the model's outputs"
    units = _units(channels, sides, parts)
    members = []
    for (name, side), pairs in sides.items():
        table: dict[int, set[int]] = {}
        for root, local in pairs:
            table.setdefault(root, set()).add(local)
        rows = [tuple(sorted(set().union(*(table.get(root, set()) for root in unit)))) for unit in units]
        if len({len(row) for row in rows}) != 1 or not rows[0]:
            return f"its channels take unequal shares of {name}"
        members.append(Member(name, side, tuple(rows)))
    producers = [m.part for m in members if m.side == "out" and parts[m.part].is_layer]
    if len(units) < 2:
        return "has a single unit"
    return ChannelGroup(min(producers, key=order.__getitem__), len(units), tuple(members))


def _units(
    channels: int, sides: Mapping[tuple[str, str], list[tuple[int, int]]], parts: Mapping[str, Part]
) -> list[list[int]]:
    """Return the sets of root channels that must be cut together.

    A grouped convolution keeps equal groups only when the same position of every group is cut; a position
    is shared by all root channels that land on it.
    """
    parent = list(range(channels))

    def find(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for (name, side), pairs in sides.items():
        part = parts.get(name)
        grouped = part is not None and part.kind == "conv" and part.groups > 1
        first: dict[int, int] = {}
        for root, local in pairs:
            if grouped and part is not None:
                position = local % ((part.inputs if side == "in" else part.outputs) // part.groups)
            else:
                position = local
            if position in first:
                parent[find(root)] = find(first[position])
            else:
                first[position] = root
    units: dict[int, list[int]] = {}
    for root in range(channels):
        units.setdefault(find(root), []).append(root)
    return list(units.values())


class _Prover:
    """Comparison of cut models with silenced ones."""

    def __init__(self, model: nn.Module, example_input: Tensor, parts: Mapping[str, Part], seed: int) -> None:
        self.model = model
        self.parts = parts
        self.seed = seed
        self.inputs = _probe_inputs(example_input, seed)
        self.shuffled: list[nn.Module] = []
        self.outputs: dict[int, Tensor] = {}

    def refute(self, groups: Sequence[ChannelGroup]) -> str | None:
        """Return the reason why cutting these groups is wrong, or None if it is proven correct."""
        reason = self._compare(self.model, groups, 1 / 4)
        for model, bias in enumerate(BIASES):
            if reason != _UNMEASURABLE:
                break
            # Channels without effect (zero-initialised norms, saturated gates) prove nothing. The coupling does
            # not depend on the weights, so random ones serve as well.
            if model == len(self.shuffled):
                self.shuffled.append(_randomised(self.model, self.seed + model, bias))
            reason = self._compare(self.shuffled[model], groups, 1 / 2)
        return reason

    def _compare(self, model: nn.Module, groups: Sequence[ChannelGroup], share: float) -> str | None:
        choice = random.Random(self.seed)
        gone = {
            group.name: sorted(choice.sample(range(group.units), max(1, int(group.units * share))))
            for group in groups
        }
        with torch.no_grad():
            dense = self._dense(model)
            try:
                with silenced(model, groups, gone):
                    silent = _logits(model(self.inputs))
            except Exception as error:
                return f"its channels cannot be silenced ({type(error).__name__}: {error})"
            try:
                with cut_for_now(model, groups, gone) as small:
                    output = _logits(small(self.inputs))
                    misshapen = self._misshapen(small, groups, gone)
            except Exception as error:
                return f"the cut model does not run ({type(error).__name__}: {error})"
        if misshapen is not None:
            return f"cutting gives {misshapen} other channels than expected"
        scale = float(dense.norm())
        if not bool(silent.isfinite().all()):
            return "the model's output is not finite, so nothing can be proven"
        if output.shape != dense.shape:
            return f"the cut model's output has shape {tuple(output.shape)}, not {tuple(dense.shape)}"
        if not float((silent - dense).norm()) >= MEASURABLE * scale > 0:
            return _UNMEASURABLE
        difference = float((output - silent).norm()) / max(float(silent.norm()), 1e-12)
        if not difference <= TOLERANCE:
            return f"cutting differs from silencing by {difference:.1e} of the output (channels are mixed on the way)"
        return None

    def _misshapen(
        self, small: nn.Module, groups: Sequence[ChannelGroup], gone: Mapping[str, Sequence[int]]
    ) -> str | None:
        """Return a module whose channels differ from those that the layout and the cost models count, if any."""
        structure = Structure(self.parts, {group.name: group for group in groups}, ())
        kept = {group.name: group.units - len(gone[group.name]) for group in groups}
        expected = structure.shapes(Configuration(channels=kept))
        modules = dict(small.named_modules())
        for name, part in self.parts.items():
            found = describe(name, modules[name])
            if found is None or part.kind in ("other", "pointwise"):
                continue
            if Shape(found.inputs, found.outputs, found.groups) != expected[name]:
                return name
        return None

    def _dense(self, model: nn.Module) -> Tensor:
        if id(model) not in self.outputs:
            self.outputs[id(model)] = _logits(model(self.inputs))
        return self.outputs[id(model)]


_UNMEASURABLE = "silencing its channels does not change the output measurably"


@contextmanager
def silenced(
    model: nn.Module, groups: Sequence[ChannelGroup], gone: Mapping[str, Sequence[int]]
) -> Iterator[nn.Module]:
    """Make every consumer of the given units read zeros in their channels, within the context."""
    modules = dict(model.named_modules())
    handles = []
    for group in groups:
        for member in group.members:
            if member.side != "in":
                continue
            channels = [index for unit in gone[group.name] for index in member.indices[unit]]
            module = modules[member.part]
            handles.append(module.register_forward_pre_hook(_zero(channels, channel_axis(module))))
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _zero(
    channels: Sequence[int], axis: int
) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first = inputs[0]
        index = torch.tensor(list(channels), device=first.device)
        return (first.index_fill(axis, index, 0), *inputs[1:])

    return hook


def _logits(output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(f"the model returns {type(output).__name__}, not a tensor")
    return output


def _probe_inputs(example_input: Tensor, seed: int) -> Tensor:
    """Return the example and a noisy copy of it: an all-zero example would hide mistakes."""
    first = example_input[:1]
    if not first.is_floating_point():
        return first
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(seed))
    return torch.cat([first, first + noise.to(first)])


def _varied(example_input: Tensor, seed: int) -> list[Tensor]:
    """Return the example and inputs that differ from it."""
    first = example_input[:1]
    if not first.is_floating_point():
        return [first]
    return [first, -first, _probe_inputs(first, seed)[1:]]


def _way(model: nn.Module, inputs: Tensor) -> set[str]:
    """Return the names of the modules that a model calls."""
    called: set[str] = set()
    names = [name for name, _ in model.named_modules()]
    watch_inputs(model, inputs, names, lambda name, _: called.add(name))
    return called


_READ_BY_PARENT = "never called as a module: its parent reads its weights"
_UNREAD = "never called and never read in eval mode: it serves training alone, or nothing"


class _Asking(TorchFunctionMode):
    """Notes whether Python asks for the values of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.asked = self.asked or func in ANSWERS
        return func(*args, **(kwargs or {}))


def _asks(model: nn.Module, example_input: Tensor) -> bool:
    """Whether a forward asks for values, on which it may decide whether to call layers."""
    asking = _Asking()
    with torch.no_grad(), asking:
        model(example_input)
    return asking.asked


def _unread(model: nn.Module, example_input: Tensor, names: Sequence[str]) -> set[str]:
    """Return the layers whose weights do not reach the outputs: those that may be NaN."""
    unread = set()
    for name in names:
        weight = model.get_submodule(name).get_parameter("weight")
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.fill_(math.nan)
            if bool(_logits(model(example_input)).isfinite().all()):
                unread.add(name)
            weight.copy_(kept)
    return unread


def _extreme_ways(model: nn.Module, example_input: Tensor) -> list[set[str]]:
    """Return the ways of inputs far from the example, on either side of the thresholds that a model may branch on."""
    ways: list[set[str]] = []
    for factor in (0.0, 10.0) if example_input.is_floating_point() else ():
        # Not every model accepts such inputs.
        with suppress(Exception):
            ways.append(_way(model, example_input[:1] * factor))
    return ways


def _randomised(model: nn.Module, seed: int, bias: float) -> nn.Module:
    """Return a copy with random weights, scaled by their fan-in, and biases around a value."""
    shuffled = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in shuffled.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            if parameter.dim() > 1:
                parameter.copy_(noise * (2 / max(1, parameter[0].numel())) ** 0.5)
            else:
                parameter.copy_((bias if name.endswith("bias") else 1.0) + 0.1 * noise)
    return shuffled
