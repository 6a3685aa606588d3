"""Profile of the dense model: operator counts, allocations, and how both scale with channels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from leanfront.core.compressors import ChannelGroup, Configuration, Structure
from leanfront.core.compressors.structure.modules import elements_read, watch_inputs
from leanfront.core.compressors.structure.slicing import cut_for_now
from leanfront.core.cost_models.allocations import Allocations, watch
from leanfront.core.cost_models.flops import analyse, unsupported
from leanfront.core.targets.memory_format import allows_innermost

Operation = tuple[str, str]
"""A module's path and an operator that runs in it (not in its children)."""


@dataclass(frozen=True)
class Probe:
    """Measurements of the model with one channel group cut by a quarter.

    Args:
        removed: number of units cut.
        allocations: activation storages.
    """

    removed: int
    allocations: Allocations


@dataclass(frozen=True)
class JointProbe:
    """Measurements of the model with every channel group cut by a quarter, to check predictions from single probes.

    Args:
        configuration: the kept channels.
        macs: fvcore's total.
        allocations: activation storages.
    """

    configuration: Configuration
    macs: int
    allocations: Allocations


@dataclass(frozen=True)
class Profile:
    """The dense model, with the measurements that cost models take of it once.

    Args:
        model: dense model in eval mode on the CPU; it is not changed.
        example_input: tensor (1, ...).
        structure: structure of that model.
        target: name of the target, written into artifact headers.
    """

    model: nn.Module
    example_input: Tensor
    structure: Structure
    target: str = ""

    @cached_property
    def channels_last(self) -> bool:
        """Whether the model computes the same with channels innermost in memory."""
        return allows_innermost(self.model, self.example_input)

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
        """Elements that each leaf module reads in one pass."""
        return _leaf_inputs(self.model, self.example_input)

    @cached_property
    def nonnegative_inputs(self) -> frozenset[str]:
        """Layers whose input has no negative number, as behind a ReLU."""
        return _nonnegative_inputs(self.model, self.example_input, self.structure.layers)

    @cached_property
    def other_operations(self) -> dict[Operation, int]:
        """Operations outside layers and norms, whose counts do not follow from the structure."""
        return {key: count for key, count in self.operations.items() if not self._follows(key[0])}

    @cached_property
    def probes(self) -> dict[str, Probe]:
        """Probe of each channel group, cut alone."""
        return {name: self._probe(name) for name in self.structure.groups}

    @cached_property
    def lost_operations(self) -> dict[str, float]:
        """Multiply-adds that the other operations lose when a group is cut by a quarter, if they lose any.

        Groups are first cut together: if many together change nothing, none of them does.
        """
        found: dict[str, float] = {}
        waiting = [list(self.structure.groups)] if self.other_operations and self.structure.groups else []
        while waiting:
            names = waiting.pop()
            lost = self._lost(names)
            if lost and len(names) == 1:
                found[names[0]] = lost
            elif lost:
                half = len(names) // 2
                waiting += [names[:half], names[half:]]
        return found

    def _lost(self, names: Sequence[str]) -> float:
        leaves = [path for path, _ in self.other_operations if path in self.leaf_inputs]
        traced = [key for key in self.other_operations if key[0] not in self.leaf_inputs]
        lost = 0.0
        with self._cut(names) as small:
            if leaves:
                read = elements_read(small, self.example_input, leaves)
            # Operators called by containers have no hook to watch.
            left = operations(analyse(small, self.example_input)) if traced else {}
        for key in traced:
            lost += self.operations[key] - left.get(key, 0)
        for key, count in self.other_operations.items():
            if key[0] in self.leaf_inputs:
                lost += count * (1 - read.get(key[0], 0) / self.leaf_inputs[key[0]])
        return lost

    @cached_property
    def joint(self) -> JointProbe:
        """Probe of all channel groups, cut together."""
        groups = self.structure.groups
        kept = {name: group.units - removed(group) for name, group in groups.items()}
        with self._cut(list(groups)) as small:
            total = int(analyse(small, self.example_input).total())
            return JointProbe(Configuration(channels=kept), total, watch(small, self.example_input))

    def _follows(self, path: str) -> bool:
        part = self.structure.parts.get(path)
        return part is not None and (part.is_layer or part.kind in ("norm", "channelwise", "heads"))

    def _probe(self, name: str) -> Probe:
        gone = removed(self.structure.groups[name])
        with self._cut([name]) as small:
            return Probe(gone, watch(small, self.example_input))

    def _cut(self, names: Sequence[str]) -> AbstractContextManager[nn.Module]:
        groups = [self.structure.groups[name] for name in names]
        return cut_for_now(self._own, groups, {group.name: range(removed(group)) for group in groups})

    @cached_property
    def _own(self) -> nn.Module:
        """Copy of the model that probes cut and restore."""
        return copy.deepcopy(self.model)


def removed(group: ChannelGroup) -> int:
    """Return the number of units that a probe cuts."""
    return max(1, group.units // 4)


def operations(analysis: Any) -> dict[Operation, int]:
    """Return fvcore's counts by (module, operator), each at the innermost module that runs the operator."""
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


def _nonnegative_inputs(model: nn.Module, example_input: Tensor, layers: Sequence[str]) -> frozenset[str]:
    negative: set[str] = set()
    called: set[str] = set()

    def look(name: str, first: Tensor) -> None:
        called.add(name)
        if bool((first < 0).any()):
            negative.add(name)

    watch_inputs(model, example_input, layers, look)
    return frozenset(called - negative)


def _leaf_inputs(model: nn.Module, example_input: Tensor) -> dict[str, int]:
    leaves = [name for name, module in model.named_modules() if next(module.children(), None) is None]
    return elements_read(model, example_input, leaves)
