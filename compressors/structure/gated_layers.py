"""Gated pairs of linear layers, whose first layer makes values and gates in one tensor that is split in halves."""

from __future__ import annotations

from torch import nn

from leanfront.core.compressors.structure.structure import ChannelGroup, Member


def gated_groups(model: nn.Module) -> list[ChannelGroup]:
    """Return one group per module of two linear layers, the first with twice the outputs that the second reads.

    A unit is a value, its gate and the column that reads their product. The proofs decide.
    """
    groups = []
    for path, module in model.named_modules():
        pair = _pair(module)
        if pair is None:
            continue
        (first, _), (second, reader) = pair
        inside, hidden = f"{path}." if path else "", reader.in_features
        members = (
            Member(f"{inside}{first}", "out", tuple((i, hidden + i) for i in range(hidden))),
            Member(f"{inside}{second}", "in", tuple((i,) for i in range(hidden))),
        )
        groups.append(ChannelGroup(f"{inside}{first}", hidden, members))
    return groups


def gated_entrances(model: nn.Module) -> set[nn.Module]:
    """Return the first layers of all pairs."""
    return {pair[0][1] for module in model.modules() if (pair := _pair(module)) is not None}


def _pair(module: nn.Module) -> list[tuple[str, nn.Linear]] | None:
    layers = [(name, child) for name, child in module.named_children() if isinstance(child, nn.Linear)]
    if len(layers) != 2 or isinstance(module, nn.Sequential):
        return None
    first, second = layers[0][1], layers[1][1]
    return layers if first.out_features == 2 * second.in_features and second.in_features > 1 else None
