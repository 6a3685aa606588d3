"""Allocations of tensors while a model runs, from which activation memory follows."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass
class Allocations:
    """Tensor storages in the order in which they are allocated and freed.

    Args:
        sizes: bytes of each storage, in order of allocation.
        events: k when storage k is allocated, -k - 1 when it is freed.
    """

    sizes: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.record = Allocations()
        self.alive: dict[int, weakref.ref[Any]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: to skip a compiler that is not running, torch would import it, two seconds of every search."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self.see(leaf, new=True)
        return output

    def see(self, tensor: Tensor, *, new: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.alive:
            return
        number = len(self.record.sizes)
        if new:
            self.record.sizes.append(storage.nbytes())
            self.record.events.append(number)

        def gone(_: weakref.ref[Any]) -> None:
            del self.alive[key]
            if new:
                self.record.events.append(-number - 1)

        self.alive[key] = weakref.ref(storage, gone)


def watch(module: nn.Module, example_input: Tensor) -> Allocations:
    """Record the storages that one forward pass allocates, without parameters, buffers and the input."""
    mode = _Watch()
    for tensor in [*module.parameters(), *module.buffers(), example_input]:
        mode.see(tensor, new=False)
    with torch.no_grad(), mode:
        output = module(example_input)
        del output
    mode.alive.clear()
    return mode.record


def peak(allocations: Allocations) -> float:
    """Return the largest sum of sizes alive at once, in bytes."""
    sizes = allocations.sizes
    now = most = 0.0
    for event in allocations.events:
        now += sizes[event] if event >= 0 else -sizes[-event - 1]
        most = max(most, now)
    return most
