"""What cost models measure on the dense model, once: operator counts, allocations, and how both scale."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from compressors import Structure
from compressors.slicing import cut
from cost_models.allocations import Allocations, watch
from cost_models.flops import analyse, unsupported

Operation = tuple[str, str]
"""A module's path and an operator that runs in it (not in its children)."""


@dataclass(frozen=True)
class Probe:
    """The model with one group cut a little: what changed."""

    removed: int
    model: nn.Module
    allocations: Allocations
    inputs: Mapping[str, int]


@dataclass(frozen=True)
class Profile:
    """The dense model as cost models see it.

    Args:
        model: dense, eval mode, on the CPU; not changed.
        example_input: shape (1, ...).
        structure: of that model.
        target: its name, written into artifact headers.
    """

    model: nn.Module
    example_input: Tensor
    structure: Structure
    target: str = ""

    @cached_property
    def analysis(self) -> Any:
        """fvcore's analysis of the dense model."""
        return analyse(self.model, self.example_input)

    @cached_property
    def operations(self) -> dict[Operation, int]:
        """Multiply-adds by module and operator, zero entries left out."""
        return operations(self.analysis)

    @cached_property
    def unsupported(self) -> dict[str, int]:
        """Operators that fvcore cannot count: name -> calls."""
        return unsupported(self.analysis)

    @cached_property
    def allocations(self) -> Allocations:
        """Activation storages of the dense model."""
        return watch(self.model, self.example_input)

    @cached_property
    def leaf_inputs(self) -> dict[str, int]:
        """Elements that each leaf module reads in a pass."""
        return _leaf_inputs(self.model, self.example_input)

    @cached_property
    def probes(self) -> dict[str, Probe]:
        """Every channel group cut by a quarter, alone."""
        return {name: self._probe(name) for name in self.structure.groups}

    def _probe(self, name: str) -> Probe:
        group = self.structure.groups[name]
        removed = max(1, group.units // 4)
        small = copy.deepcopy(self.model)
        cut(small, [group], {name: range(removed)})
        return Probe(
            removed, small, watch(small, self.example_input), _leaf_inputs(small, self.example_input)
        )


def operations(analysis: Any) -> dict[Operation, int]:
    """fvcore's counts by (module, operator), each count at the innermost module that runs it."""
    counts: dict[Operation, int] = {}
    for path, by_operator in analysis.by_module_and_operator().items():
        for operator, count in by_operator.items():
            counts[path, operator] = int(count)
    own = dict(counts)
    for (path, operator), count in counts.items():
        parent = path.rpartition(".")[0] if path else None
        if parent is not None and (parent, operator) in own:
            own[parent, operator] -= count
    return {key: count for key, count in own.items() if count}


def _leaf_inputs(model: nn.Module, example_input: Tensor) -> dict[str, int]:
    counts: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():
        if next(module.children(), None) is None:

            def hook(_: nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
                first = inputs[0] if inputs else None
                if isinstance(first, Tensor):
                    counts[name] = counts.get(name, 0) + first.numel()

            handles.append(module.register_forward_pre_hook(hook))
    try:
        with torch.no_grad():
            model(example_input)
    finally:
        for handle in handles:
            handle.remove()
    return counts
