"""Private copies of models."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from leanfront.core.targets.attention import open_attention
from leanfront.core.targets.caches import detached, empty, forget_caches
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
        inputs: (n, ...), on which the copy is run to find the tensors that its forward keeps, and with which a
            wrapper that cannot be copied proves that it only calls the model.

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
    made = open_attention(plain_layers(contiguous(copied.cpu().float())))
    return made if inputs is None else forget_caches(made, inputs)


def copied_freely(model: nn.Module) -> nn.Module:
    """Return a deep copy of a model without inner wrappers and without the graphs of tensors that a forward made."""
    memo: dict[int, Any] = dict(detached(model))
    held = unwrapping(model)
    # Innermost first, so that a wrapper finds the copies of those inside it.
    for module in reversed(list(model.modules())):
        if id(module) in held:
            memo[id(module)] = copy.deepcopy(held[id(module)], memo)
    copied = copy.deepcopy(model, memo)
    # A deep copy notes the copy of every object.
    for module in model.modules():
        empty(module, memo.get(id(module), module))
    # Modules of timm drop what they kept when they begin to train.
    copied.train()
    copied.eval()
    return copied
