"""Tracking of a model's additions: which layer's output is an operand of which sum, as in a residual block."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ADDITIONS = {
    torch.add,
    torch.Tensor.add,
    torch.Tensor.add_,
    torch.Tensor.__add__,
    torch.Tensor.__radd__,
    torch.Tensor.__iadd__,
}
PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
"""Modules that return their input in eval mode."""


@dataclass(frozen=True)
class Sum:
    """An addition of two maps of one shape.

    Args:
        number: number of such additions before it.
        operands: the two maps.
        layers: for each operand, the layer whose output it is, possibly through a norm; None if it is no layer's.
    """

    number: int
    operands: tuple[Tensor, Tensor]
    layers: tuple[str | None, str | None]


def independent(result: Tensor, of: Sequence[Tensor]) -> bool:
    """Whether autograd shows that a tensor does not depend on any of others.

    Args:
        result: the tensor.
        of: tensors that it may depend on, all computed while autograd was on.
    """
    try:
        slopes = torch.autograd.grad(result.sum(), list(of), retain_graph=True, allow_unused=True)
    except RuntimeError:
        # Computed without gradients, or in a way that has none.
        return False
    return all(slope is None for slope in slopes)


Visit = Callable[[Sum], None]
"""Function called with a sum before it is computed; it may change the operands in place."""


class Additions(TorchFunctionMode):
    """Context that calls `visit` for every addition of two maps of the same shape.

    Args:
        visit: see `Visit`.
    """

    def __init__(self, visit: Visit) -> None:
        super().__init__()
        self._visit = visit
        self._origins: dict[int, tuple[weakref.ref[Tensor], int, str]] = {}
        self._number = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ADDITIONS and not kwargs and len(args) == 2:
            first, second = args
            if isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape:
                seen = Sum(self._number, (first, second), (self.origin(first), self.origin(second)))
                self._number += 1
                self._visit(seen)
        return func(*args, **(kwargs or {}))

    def origin(self, tensor: Tensor) -> str | None:
        """Return the layer whose output a tensor is, possibly through a norm; None if it is no layer's."""
        reference, version, layer = self._origins.get(id(tensor), (None, 0, None))
        # A tensor changed in place, as by `ReLU(inplace=True)`, is no longer a layer's output.
        same = reference is not None and reference() is tensor and tensor._version == version
        return layer if same else None

    def note(self, tensor: Tensor, layer: str) -> None:
        """Record that a tensor is the output of a layer."""
        self._origins[id(tensor)] = (weakref.ref(tensor), tensor._version, layer)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Suspend the tracking, and its cost, for computations that are not the model's."""
        with torch._C.DisableTorchFunction():
            yield

    def watch(
        self, modules: Mapping[str, nn.Module], layers: Mapping[str, nn.Module], norms: Mapping[str, str]
    ) -> list[Any]:
        """Register hooks that record the outputs of layers and of the norms behind them; the caller removes them."""

        def after_layer(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_: nn.Module, inputs: Any, output: Any) -> None:
                if isinstance(output, Tensor):
                    self.note(output, name)

            return hook

        def after_passing(_: nn.Module, inputs: Any, output: Any) -> None:
            layer = self.origin(inputs[0]) if inputs and isinstance(inputs[0], Tensor) else None
            if layer is not None and isinstance(output, Tensor):
                self.note(output, layer)

        handles = [module.register_forward_hook(after_layer(name)) for name, module in layers.items()]
        behind = {norms[name] for name in layers if name in norms}
        for name, module in modules.items():
            if name in behind or isinstance(module, PASSING):
                handles.append(module.register_forward_hook(after_passing))
        return handles
