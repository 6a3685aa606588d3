"""Tensors that a forward keeps in attributes of modules, such as attention biases or activations.

They would be stale after weights change or channels are cut. So modules forget before each forward what earlier ones
kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

OWN = ("_parameters", "_buffers", "_modules")


@dataclass(frozen=True)
class Forget:
    """Forward pre-hook that resets attributes.

    Args:
        values: attribute -> value before any forward.
        missing: attributes that a forward adds.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def __call__(self, module: nn.Module, _: Any) -> None:
        for name, value in self.values.items():
            vars(module)[name] = copy.copy(value)
        for name in self.missing:
            vars(module).pop(name, None)


def forget_caches(model: nn.Module, inputs: Tensor) -> nn.Module:
    """Let modules forget before each forward which tensors earlier ones kept, in place.

    Models whose outputs depend on what they kept are left as they are.

    Args:
        model: model in eval mode; it gets forward pre-hooks.
        inputs: (n, ...), on which it is run.

    Returns:
        The model, unchanged if it fails.
    """
    before = [(module, _kept(module)) for module in model.modules()]
    with suppress(Exception), torch.no_grad():
        first, second = model(inputs), model(inputs)
        if not _same(first, second):
            return model
    for module, kept in before:
        after = _kept(module)
        changed = [name for name in after if _ids(after[name]) != _ids(kept.get(name))]
        if not changed:
            continue
        values = {name: kept[name] for name in changed if name in kept}
        hook = Forget(values, tuple(name for name in changed if name not in kept))
        hook(module, None)
        module.register_forward_pre_hook(hook)
    return model


def detached(model: nn.Module) -> dict[int, Tensor]:
    """Return, for a `copy.deepcopy` of a model, detached copies of tensors that forwards made: id -> tensor."""
    return {
        id(tensor): tensor.detach().clone()
        for module in model.modules()
        for name, value in vars(module).items()
        if name not in OWN
        for tensor in _tensors(value)
        if not tensor.is_leaf
    }


def empty(module: nn.Module, copied: nn.Module) -> None:
    """Empty the dictionaries of a module's copy in which forwards kept tensors."""
    if copied is module:
        return
    for name, value in vars(module).items():
        kept = vars(copied).get(name)
        if name not in OWN and isinstance(value, dict) and isinstance(kept, dict):
            for key in [key for key, each in value.items() if _made(each)]:
                kept.pop(key, None)


def _made(value: Any) -> bool:
    return any(not tensor.is_leaf for tensor in _tensors(value))


def _kept(module: nn.Module) -> dict[str, Any]:
    """Return the plain attributes that may hold tensors, containers copied."""
    return {
        name: copy.copy(value) if isinstance(value, dict | list) else value
        for name, value in vars(module).items()
        if name not in OWN and not name.startswith(("_forward", "_backward", "_state_dict", "_load"))
    }


def _ids(value: Any) -> list[int]:
    return [id(tensor) for tensor in _tensors(value)]


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and torch.allclose(first, second, equal_nan=True)
    return type(first) is type(second)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _of_each(value.values())
    elif isinstance(value, list | tuple | set):
        yield from _of_each(value)


def _of_each(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        yield from _tensors(value)
