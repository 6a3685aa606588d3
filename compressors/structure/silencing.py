"""Silencing of channels: their consumers read zeros, and the model keeps its shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.modules import channel_axis
from leanfront.core.compressors.structure.structure import ChannelGroup


@contextmanager
def silenced(
    model: nn.Module, groups: Sequence[ChannelGroup], gone: Mapping[str, Sequence[int]]
) -> Iterator[nn.Module]:
    """Make every consumer of the given units read zeros in their channels, within the context.

    Args:
        model: the dense model; nothing else may use it within the context.
        groups: groups to silence.
        gone: group name -> units to silence.
    """
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
