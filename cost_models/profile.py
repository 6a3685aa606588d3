"""What cost models measure on the dense model, once: operator counts, allocations, and how both scale."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from compressors import ChannelGroup, Configuration, Structure
from compressors.modules import elements_read
from compressors.slicing import cut
from cost_models.allocations import Allocations, watch
from cost_models.flops import analyse, unsupported

Operation = tuple[str, str]
"""A module's path and an operator that runs in it (not in its children)."""


@dataclass(frozen=True)
class Probe:
    """The model with one group cut a little: what changed.

    Args:
        removed: units cut.
        allocations: activation storages.
        inputs: elements that each leaf module reads.
        operations: multiply-adds by module and operator; empty where no container runs an operator that counts.
    """

    removed: int
    allocations: Allocations
    inputs: Mapping[str, int]
    operations: Mapping[Operation, int]


@dataclass(frozen=True)
class JointProbe:
    """The model with every group cut a little: what predictions from the single probes must give.

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
    def other_operations(self) -> dict[Operation, int]:
        """The operations outside layers and norms, whose counts do not follow from the structure."""
        return {key: count for key, count in self.operations.items() if not self._follows(key[0])}

    @cached_property
    def probes(self) -> dict[str, Probe]:
        """Every channel group cut by a quarter, alone."""
        return {name: self._probe(name) for name in self.structure.groups}

    @cached_property
    def joint(self) -> JointProbe:
        """All channel groups cut by a quarter."""
        groups = self.structure.groups
        kept = {name: group.units - _removed(group) for name, group in groups.items()}
        small = self._cut(list(groups))
        total = int(analyse(small, self.example_input).total())
        return JointProbe(Configuration(channels=kept), total, watch(small, self.example_input))

    def _follows(self, path: str) -> bool:
        part = self.structure.parts.get(path)
        return part is not None and (part.is_layer or part.kind in ("norm", "channelwise"))

    def _probe(self, name: str) -> Probe:
        small = self._cut([name])
        # Operators that containers call have no hook to watch: the cut model is traced.
        traced = any(path not in self.leaf_inputs for path, _ in self.other_operations)
        return Probe(
            _removed(self.structure.groups[name]),
            watch(small, self.example_input),
            _leaf_inputs(small, self.example_input),
            operations(analyse(small, self.example_input)) if traced else {},
        )

    def _cut(self, names: Sequence[str]) -> nn.Module:
        groups = [self.structure.groups[name] for name in names]
        small = copy.deepcopy(self.model)
        cut(small, groups, {group.name: range(_removed(group)) for group in groups})
        return small


def _removed(group: ChannelGroup) -> int:
    return max(1, group.units // 4)


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
    leaves = [name for name, module in model.named_modules() if next(module.children(), None) is None]
    return elements_read(model, example_input, leaves)
