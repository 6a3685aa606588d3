"""Attention heads as channel groups, found in the modules themselves and not in the dependency graph."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from leanfront.core.compressors.structure.guessed_heads import guessed_heads, outgoing, tables
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
        The groups, named after the first projection, and the failures: (name, what, reason).
    """
    groups: list[ChannelGroup] = []
    failures: list[tuple[str, str, str]] = []
    for path, module in model.named_modules():
        group = _opened(path, module) if isinstance(module, HeadAttention) else _guessed(model, path, module)
        if group is None:
            continue
        through = [member.part for member in group.members if member.side != "parameter"]
        kept_whole = [name for name in through if name not in parts or parts[name].kind == "other"]
        if kept_whole:
            reason = f"passes through {kept_whole[0]}, which cannot be cut"
            failures.append((group.name, "channel group", reason))
        elif group.units < 2:
            failures.append((group.name, "channel group", "has a single unit"))
        else:
            groups.append(group)
    return groups, failures


def _opened(path: str, module: HeadAttention) -> ChannelGroup:
    enters, leaves, *beside = (f"{path}.{layer}" for layer in (module.enters, module.leaves, *module.beside))
    return _group(path, module, enters, leaves, beside)


def _guessed(model: nn.Module, path: str, module: nn.Module) -> ChannelGroup | None:
    guess = guessed_heads(module)
    leaves = None if guess is None else outgoing(model, path, guess)
    if guess is None or leaves is None:
        return None
    inside = f"{path}." if path else ""
    members = [Member(path, "out", _blocks(guess.units, (1,), 1))]
    members += [
        Member(f"{inside}{name}", "out", _blocks(guess.units, blocks, guess.features))
        for name, blocks in guess.layers
    ]
    members += [
        Member(f"{inside}{name}", "parameter", _blocks(guess.units, (1,), each))
        for name, each in tables(module, guess).items()
    ]
    members.append(Member(leaves, "in", _blocks(guess.units, (guess.queries,), guess.features)))
    return ChannelGroup(f"{inside}{guess.layers[0][0]}", guess.units, tuple(members))


def _blocks(units: int, blocks: tuple[int, ...], features: int) -> tuple[tuple[int, ...], ...]:
    """Return the indices of each unit in blocks that hold this many heads for each unit."""
    rows: list[list[int]] = [[] for _ in range(units)]
    start = 0
    for heads in blocks:
        for unit in range(units):
            rows[unit] += range(start, start + heads * features)
            start += heads * features
    return tuple(tuple(row) for row in rows)


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
    """Return the layers that make queries, keys and values; their channels are those of heads."""
    found = {m.get_submodule(m.enters) for m in model.modules() if isinstance(m, HeadAttention)}
    for module in model.modules():
        guess = guessed_heads(module)
        if guess is not None:
            found.update(module.get_submodule(name) for name, _ in guess.layers)
    return found
