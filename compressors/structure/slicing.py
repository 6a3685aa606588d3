"""Physical removal of channels from a module."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from leanfront.core.compressors.structure.guessed_heads import cut_axis
from leanfront.core.compressors.structure.modules import cut_module
from leanfront.core.compressors.structure.structure import ChannelGroup


def cut(module: nn.Module, groups: Sequence[ChannelGroup], gone: Mapping[str, Sequence[int]]) -> None:
    """Remove units of channel groups from a module, in place.

    All groups' removals are gathered first and each module side is cut once: after a concatenation several
    groups cut the same input, each in the dense model's numbering.

    Args:
        module: copy of the dense model.
        groups: groups to cut.
        gone: group name -> units to remove.
    """
    removals: dict[tuple[str, str], set[int]] = {}
    for group in groups:
        for member in group.members:
            indices = removals.setdefault((member.part, member.side), set())
            for unit in gone[group.name]:
                indices.update(member.indices[unit])
    modules = dict(module.named_modules())
    sides: dict[str, dict[str, list[int]]] = {}
    for (name, side), indices in removals.items():
        if not indices:
            continue
        if side == "parameter":
            _cut_parameter(modules, name, indices)
        else:
            sides.setdefault(name, {})[side] = sorted(indices)
    for name, gone_channels in sides.items():
        cut_module(modules[name], gone_channels)


@contextmanager
def cut_for_now(
    module: nn.Module, groups: Sequence[ChannelGroup], gone: Mapping[str, Sequence[int]]
) -> Iterator[nn.Module]:
    """Remove units from a module within the context and restore them afterwards; only cut tensors are copied.

    Args:
        module: the dense model; nothing else may use it within the context.
        groups: groups to cut.
        gone: group name -> units to remove.
    """
    modules = dict(module.named_modules())
    touched = {
        member.part.rpartition(".")[0] if member.side == "parameter" else member.part
        for group in groups
        for member in group.members
    }
    # Cutting puts new tensors and numbers into a module and changes none in place.
    before = {
        name: {key: copy.copy(v) if isinstance(v, dict) else v for key, v in vars(modules[name]).items()}
        for name in touched
    }
    try:
        cut(module, groups, gone)
        yield module
    finally:
        for name, attributes in before.items():
            modules[name].__dict__.clear()
            modules[name].__dict__.update(attributes)


def _cut_parameter(modules: Mapping[str, nn.Module], path: str, indices: set[int]) -> None:
    owner, _, name = path.rpartition(".")
    parameter = getattr(modules[owner], name)
    buffer = name in modules[owner]._buffers
    axis = cut_axis(tuple(parameter.shape))
    if axis is None:
        raise ValueError(f"parameter {path} of shape {tuple(parameter.shape)} has no axis to cut")
    kept = [i for i in range(parameter.shape[axis]) if i not in indices]
    index = torch.tensor(kept, device=parameter.device)
    rest = parameter.detach().index_select(axis, index)
    value = rest if buffer else nn.Parameter(rest, requires_grad=parameter.requires_grad)
    setattr(modules[owner], name, value)
