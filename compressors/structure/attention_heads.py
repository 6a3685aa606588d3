"""Attention heads as channel groups, found in the modules themselves and not in the dependency graph."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from leanfront.core.compressors.structure.structure import ChannelGroup, Member, Part
from leanfront.core.targets.attention import HeadAttention


def head_groups(
    model: nn.Module, parts: Mapping[str, Part]
) -> tuple[list[ChannelGroup], list[tuple[str, str, str]]]:
    """Return one group per attention module; a head's queries, keys, values, outputs and tables are cut together.

    Args:
        model: model with opened attention (`targets/attention.py`).
        parts: parts of the model.

    Returns:
        The groups, named after the in-projection, and the failures: (name, what, reason).
    """
    groups: list[ChannelGroup] = []
    failures: list[tuple[str, str, str]] = []
    for path, module in model.named_modules():
        if not isinstance(module, HeadAttention):
            continue
        enters, leaves, *beside = (
            f"{path}.{layer}" for layer in (module.enters, module.leaves, *module.beside)
        )
        kept_whole = [name for name in (path, enters, leaves, *beside) if parts[name].kind == "other"]
        if kept_whole:
            reason = f"passes through {kept_whole[0]}, which cannot be cut"
            failures.append((enters, "channel group", reason))
        elif module.num_heads < 2:
            failures.append((enters, "channel group", "has a single unit"))
        else:
            groups.append(_group(path, module, enters, leaves, beside))
    return groups, failures


def _group(path: str, module: HeadAttention, enters: str, leaves: str, beside: list[str]) -> ChannelGroup:
    heads, features = module.num_heads, module.head_dim
    read = tuple(tuple(range(head * features, (head + 1) * features)) for head in range(heads))
    # The in-projection's outputs are the queries, then the keys, then the values.
    made = tuple(tuple(part * heads * features + i for part in range(3) for i in unit) for unit in read)
    single = tuple((head,) for head in range(heads))
    members = (
        Member(enters, "out", made),
        *(Member(name, "out", single) for name in (path, *beside)),
        Member(leaves, "in", read),
    )
    return ChannelGroup(enters, heads, members)


def entrances(model: nn.Module) -> set[nn.Module]:
    """Return the in-projections of a model's opened attention."""
    return {m.get_submodule(m.enters) for m in model.modules() if isinstance(m, HeadAttention)}
