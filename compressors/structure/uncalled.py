"""Layers that a model never calls as modules: who reads them, and whether other inputs may reach them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from leanfront.core.compressors.structure.gradients import ANSWERS

READ_BY_PARENT = "never called as a module: its parent reads its weights"
UNREAD = "never called and never read in eval mode: it serves training alone, or nothing"


def unread(model: nn.Module, example_input: Tensor, names: Sequence[str]) -> set[str]:
    """Return the layers whose weights do not reach the outputs: those that may be NaN."""
    found = set()
    for name in names:
        weight = model.get_submodule(name).get_parameter("weight")
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.fill_(math.nan)
            if bool(torch.isfinite(model(example_input)).all()):
                found.add(name)
            weight.copy_(kept)
    return found


class _Asking(TorchFunctionMode):
    """Notes whether Python asks for the values of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.asked = self.asked or func in ANSWERS
        return func(*args, **(kwargs or {}))


def asks(model: nn.Module, example_input: Tensor) -> bool:
    """Whether a forward asks for values, on which it may decide whether to call layers."""
    asking = _Asking()
    with torch.no_grad(), asking:
        model(example_input)
    return asking.asked
