"""Gradients through the whole of a model, also where its forward blocks them.

Frozen backbones run under ``no_grad`` or ``inference_mode``, or detach their outputs. Their layers change the outputs
like any others, but autograd would not see them: a dependency graph lacks them, and a Fisher information of zero says
that they are free to compress.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import inference_mode
from torch.overrides import TorchFunctionMode

DETACHING = (torch.detach, Tensor.detach, torch.detach_, Tensor.detach_)
ANSWERS = (
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__index__,
    Tensor.item,
    Tensor.tolist,
    Tensor.numpy,
)
"""Functions by which Python asks for the values of a tensor."""
_patching = threading.RLock()


class _Throughout(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled:
            return None
        if func in DETACHING and args[0].requires_grad:
            return args[0].view_as(args[0])
        if func in ANSWERS:
            return func(args[0].detach(), *args[1:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextmanager
def throughout() -> Iterator[None]:
    """Keep gradients enabled within the context, whatever a forward does to them. Hooks use `outside`."""
    enter, leave = inference_mode.__enter__, inference_mode.__exit__
    owner = threading.get_ident()

    def enter_not(self: Any) -> None:
        if threading.get_ident() != owner:
            enter(self)

    def leave_not(self: Any, *args: Any) -> None:
        # Another thread may have entered before.
        if hasattr(self, "_inference_mode_context"):
            leave(self, *args)

    with _patching:
        inference_mode.__enter__, inference_mode.__exit__ = enter_not, leave_not  # type: ignore[method-assign]
        try:
            with torch.enable_grad(), _Throughout():
                yield
        finally:
            inference_mode.__enter__, inference_mode.__exit__ = enter, leave  # type: ignore[method-assign]


def differentiable(model: nn.Module, inputs: Tensor) -> Any:
    """Run a model with gradients throughout, or with those that it allows if that fails."""
    try:
        with throughout():
            return model(inputs)
    except RuntimeError:
        # Such as a forward that changes a parameter in place.
        return model(inputs)


def outside() -> Any:
    """Return a context in which tensors are detached as ever, for hooks that run within `throughout`."""
    return torch._C.DisableTorchFunction()
