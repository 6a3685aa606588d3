"""Private copies of models."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from leanfront.core.targets.attention import open_attention
from leanfront.core.targets.memory_format import contiguous
from leanfront.core.targets.plain_layers import plain_layers
from leanfront.core.targets.unsupported import check_supported
from leanfront.core.targets.wrappers import passed_through, unwrapped, unwrapping
from leanfront.errors import TargetError


def private_copy(model: Any, inputs: Tensor | None = None) -> nn.Module:
    """Copy a model to the CPU in eval mode, in the form that leanfront works on.

    Known wrappers are taken off, parameters are float32, attention has heads that can be cut, and layers that make
    their weight are plain layers with that weight.

    Args:
        model: module, or an object that wraps one; it is not changed.
        inputs: (n, ...), with which a wrapper that cannot be copied proves that it only calls the model.

    Raises:
        TargetError: it is no module of float layers (see `check_supported`), or it cannot be copied.
    """
    model = unwrapped(model)
    check_supported(model)
    try:
        copied = copied_freely(model)
    except Exception as error:
        inner = None if inputs is None else passed_through(model, inputs)
        if inner is not None:
            return private_copy(model.get_submodule(inner), inputs)
        raise TargetError(
            f"the model cannot be copied: {type(error).__name__}: {error}; remove attributes that are not "
            "parameters, buffers or submodules (open files, locks, loggers)"
        ) from error
    return open_attention(plain_layers(contiguous(copied.cpu().float().eval())))


def copied_freely(model: nn.Module) -> nn.Module:
    """Return a deep copy of a model without inner wrappers and without the graphs of tensors that a forward made."""
    memo: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in made_tensors(model)}
    held = unwrapping(model)
    # Innermost first, so that a wrapper finds the copies of those inside it.
    for module in reversed(list(model.modules())):
        if id(module) in held:
            memo[id(module)] = copy.deepcopy(held[id(module)], memo)
    return copy.deepcopy(model, memo)


def made_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Yield the tensors among the attributes of modules that a forward made under gradients."""
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from (tensor for tensor in _tensors(value) if not tensor.is_leaf)


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
