"""Derivation of a model's structure: parts, layers and proven channel groups.

The dependency graph of torch-pruning (Fang et al., DepGraph, CVPR 2023) says which channels are coupled.
It can be wrong on a model that it does not understand, so every group is proven before it is offered
(`structure/proofs.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.attention_heads import head_groups
from leanfront.core.compressors.structure.gated_layers import gated_groups
from leanfront.core.compressors.structure.graph import dependency_groups
from leanfront.core.compressors.structure.modules import describe, own_tensors, pruner_of
from leanfront.core.compressors.structure.probes import compared, one_way, probes
from leanfront.core.compressors.structure.proofs import Prover
from leanfront.core.compressors.structure.structure import CONSUMERS, ChannelGroup, Member, Part, Structure
from leanfront.core.compressors.structure.uncalled import READ_BY_PARENT, UNREAD, asks, unread
from leanfront.core.targets.forward import logits_alone
from leanfront.core.targets.model_copy import private_copy
from leanfront.core.targets.plain_layers import makes_weight
from leanfront.errors import TargetError


@torch.inference_mode(False)
def derive(
    model: nn.Module, example_input: Tensor, *, samples: Tensor | None = None, seed: int = 0
) -> Structure:
    """Derive the structure of a model: what can be cut and quantised, what is left alone, and why.

    Names refer to the model with opened attention (`targets/attention.py`), like a target's model.

    Args:
        model: any module; it is not changed.
        example_input: a batch that the model accepts, shape (n, ...).
        samples: real inputs on which groups are proven, shape (m, ...); by default the example, and a noisy copy of
            it if it is a single float input.
        seed: seed that chooses the channels cut by the proofs.

    Raises:
        TargetError: the model does not run on the example input or the samples.
    """
    model = private_copy(model, example_input)
    example_input = _single(example_input)
    logits_alone(model, example_input)
    try:
        with torch.no_grad():
            model(example_input)
        inputs = probes(model, example_input, None if samples is None else _single(samples), seed)
        same, called = one_way(model, inputs)
    except Exception as error:
        raise TargetError(f"the model does not run on its example input: {error}") from error
    parts, layers, exclusions = _parts(model)
    uncalled = [name for name in layers if name not in called]
    without = unread(model, example_input, uncalled)
    exclusions += [(name, "activations", UNREAD if name in without else READ_BY_PARENT) for name in uncalled]
    found: Sequence[ChannelGroup] = ()
    if same and not (without and asks(model, example_input)):
        found, failures = _graph_groups(model, example_input, parts)
        exclusions += failures
    else:
        reason = "it may call other modules for other inputs, so nothing can be proven; bits still work"
        exclusions.append(("model", "channel groups", reason))
    groups, failures = _proven(Prover(model, compared(inputs), parts, seed), found, uncalled)
    exclusions += failures
    ordered = {name: groups[name] for name in parts if name in groups}
    return Structure(
        parts,
        ordered,
        tuple(layers),
        tuple(exclusions),
        sum(p.numel() for p in model.parameters()),
        tuple(uncalled),
    )


def _single(inputs: Tensor) -> Tensor:
    return inputs.float() if inputs.is_floating_point() else inputs


def _proven(
    prover: Prover, found: Sequence[ChannelGroup], uncalled: Sequence[str]
) -> tuple[dict[str, ChannelGroup], list[tuple[str, str, str]]]:
    """Return the groups that are proven alone and together, and the failures: (name, what, reason)."""
    alone: list[ChannelGroup] = []
    failures: list[tuple[str, str, str]] = []
    for group in found:
        reason = prover.refute(group)
        unheard = [member.part for member in group.members if member.side == "in" and member.part in uncalled]
        if reason is None:
            alone.append(group)
            continue
        if unheard:
            reason = (
                f"{unheard[0]} reads its channels without being called with them, so nothing can be proven"
            )
        failures.append((group.name, "channel group", reason))
    together, reasons = prover.together(alone)
    failures += [(name, "channel group", reason) for name, reason in reasons.items()]
    return {group.name: group for group in together}, failures


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
        example_input = _single(example_input)
        found, failures = _graph_groups(logits_alone(model, example_input), example_input, parts)
        if failures and failures[0][0] == "model":
            raise TargetError(f"the model's channel groups cannot be found: {failures[0][2]}")
    return Structure(parts, {group.name: group for group in found}, tuple(layers))


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
    heads += [
        group
        for group in gated_groups(model)
        if all(m.part in parts and parts[m.part].is_layer for m in group.members)
    ]
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
