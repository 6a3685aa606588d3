"""torch-pruning's dependency graph, walked under limits: a model that it misreads ends in an error, not in hours.

The library compares every step of a walk with all steps before it, so a group that follows reshapes in circles takes
quadratic time. Here a step is looked up, and a group may not grow far beyond the model's own channels.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.attention_heads import entrances
from leanfront.core.compressors.structure.gated_layers import gated_entrances
from leanfront.core.compressors.structure.gradients import throughout
from leanfront.core.compressors.structure.library import (
    Dependency,
    function,
    helpers,
    index_mapping,
    torch_pruning,
)
from leanfront.core.compressors.structure.modules import CUSTOM_PRUNERS
from leanfront.core.compressors.structure.stand_ins import standing_in

MOST_INDICES = 500_000
"""Maximum number of channel indices of a group, over all members. VGG-16's widest group has about 100,000."""
FEWEST_INDICES = 20_000
"""Number of channel indices that a group of any model may have."""
INDICES_PER_CHANNEL = 16
"""Number of indices that a group may have for each input and output channel of the model's layers. VGG-11 has 5, the
most of torchvision's models."""
STEPS_PER_EDGE = 16
"""Number of steps of a walk for each edge of the graph. Of torchvision's models Swin has the most, 0.4."""
FEWEST_STEPS = 1_000
"""Number of steps that a walk through any model may have."""
SECONDS = 30.0
"""Processor seconds for one group. Those within the limits above take one or two."""
CLOCK = 256
"""Steps between two looks at the clock."""

ROOTS = (nn.modules.conv._ConvNd, nn.Linear)
_swapping = threading.Lock()


class GraphTooLargeError(RuntimeError):
    """Raised when the graph follows a model's reshapes in circles."""


class _BoundedFlatten(index_mapping._FlattenIndexMapping):  # type: ignore[misc]
    """Flatten mapping with a limit; it alone multiplies indices, as each channel becomes several features."""

    def __call__(self, idxs: Any) -> Any:
        if not self.reverse and len(idxs) * self._stride > MOST_INDICES:
            raise GraphTooLargeError(f"a reshape turns its channels into over {MOST_INDICES:,} features")
        return super().__call__(idxs)


@dataclass(frozen=True)
class Limits:
    """Limits of one walk through the graph.

    Args:
        indices: maximum number of channel indices over all steps.
        steps: maximum number of steps.
    """

    indices: int = FEWEST_INDICES
    steps: int = FEWEST_STEPS

    @classmethod
    def of(cls, model: nn.Module, edges: int) -> Limits:
        """Return the limits for a model whose graph has this many edges."""
        channels = sum(sum(layer.weight.shape[:2]) for layer in model.modules() if isinstance(layer, ROOTS))
        return cls(
            min(MOST_INDICES, max(FEWEST_INDICES, INDICES_PER_CHANNEL * channels)),
            max(FEWEST_STEPS, STEPS_PER_EDGE * edges),
        )


class _Walk:
    """Steps of one walk, with lookup.

    Args:
        limits: limits of the walk.
    """

    def __init__(self, limits: Limits) -> None:
        self.steps: list[tuple[Any, Any]] = []
        self._known: set[tuple[Hashable, ...]] = set()
        self._lists: dict[tuple[Any, ...], Any] = {}
        self._limits = limits
        self._indices = 0
        self._until = time.thread_time() + SECONDS

    def same(self, idxs: Any) -> Any:
        """Return the first list that equals these indices, so that lists can be told apart by identity."""
        return self._lists.setdefault(tuple(idxs), idxs)

    def has(self, dep: Any, idxs: Any) -> bool:
        """Whether a step to the same side of the same module cut the same indices."""
        return (id(dep.target), dep.handler, id(idxs)) in self._known

    def add(self, dep: Any, idxs: Any) -> None:
        """Add a step.

        Raises:
            GraphTooLargeError: the walk has grown beyond its limits.
        """
        # A step without indices counts as one; otherwise a circle of empty steps would never end.
        self._indices += max(1, len(idxs))
        if self._indices > self._limits.indices:
            raise GraphTooLargeError(f"it grows beyond {self._limits.indices:,} channel indices")
        if len(self.steps) == self._limits.steps:
            raise GraphTooLargeError(f"it takes more than {self._limits.steps:,} steps")
        if len(self.steps) % CLOCK == 0 and time.thread_time() > self._until:
            raise GraphTooLargeError(f"it takes over {SECONDS:g} s")
        self._known.add((id(dep.target), dep.handler, id(idxs)))
        self.steps.append((dep, idxs))

    def merged(self) -> list[Any]:
        """Return one item for each side of each module, with plain and root indices in order of appearance."""
        sides: dict[tuple[int, Hashable], tuple[Any, dict[int, Any]]] = {}
        seen: set[tuple[Hashable, ...]] = set()
        for dep, idxs in self.steps:
            key = (id(dep.target), dep.handler)
            table = sides.setdefault(key, (dep, {}))[1]
            if (*key, id(idxs)) in seen:
                continue
            seen.add((*key, id(idxs)))
            for index in idxs:
                table.setdefault(index.idx, index)
        items = []
        for dep, table in sides.values():
            item = helpers.GroupItem(dep, list(table))
            item.root_idxs = [index.root_idx for index in table.values()]
            items.append(item)
        return items


class _Graph(torch_pruning.DependencyGraph):  # type: ignore[misc]
    """Dependency graph of a model that is never cut, so that its index mappings stay."""

    def group_of(self, module: nn.Module, limits: Limits) -> list[Any]:
        """Return the group of all output channels of a module, as `get_pruning_group` does.

        Args:
            module: a convolution or linear layer in the graph.
            limits: limits of the walk.

        Raises:
            GraphTooLargeError: the walk goes beyond the limits.
        """
        pruner = self.get_pruner_of_module(module)
        handler, channels = pruner.prune_out_channels, pruner.get_out_channels(module)
        if isinstance(module, torch_pruning.ops.TORCH_CONV) and module.groups == module.out_channels > 1:
            handler = function.prune_depthwise_conv_out_channels
        root = self.module2node[module]
        walk = _Walk(limits)
        idxs = walk.same([helpers._HybridIndex(idx=i, root_idx=i) for i in range(channels)])
        first = Dependency(handler, handler, source=root, target=root)
        walk.add(first, idxs)
        visited: set[int] = set()
        waiting = [(first, idxs)]
        mapped: dict[tuple[int, int], Any] = {}
        while waiting:
            dep, idxs = waiting.pop()
            visited.add(id(dep.target))
            for other in dep.target.dependencies:
                if not other.is_triggered_by(dep.handler):
                    continue
                key = (id(other), id(idxs))
                if key not in mapped:
                    mapped[key] = walk.same(_mapped(other, idxs))
                indices = mapped[key]
                if not indices or (id(other.target) in visited and walk.has(other, indices)):
                    continue
                walk.add(other, indices)
                waiting.append((other, indices))
        return walk.merged()


def _mapped(dep: Any, idxs: Any) -> Any:
    for mapping in dep.index_mapping:
        if mapping is not None:
            idxs = mapping(idxs)
    return idxs


@contextmanager
def _bounded() -> Iterator[None]:
    """Replace what fails in the library while its graph is built and walked."""
    with _swapping:
        plain = index_mapping._FlattenIndexMapping, index_mapping.update_concat_index_mapping
        concat = plain[1]

        def concatenation(graph: Any, node: Any) -> None:
            # It adds widths that may be unknown, as those of tensors that are no channels.
            with suppress(TypeError):
                concat(graph, node)

        index_mapping._FlattenIndexMapping = _BoundedFlatten
        index_mapping.update_concat_index_mapping = concatenation
        try:
            yield
        finally:
            index_mapping._FlattenIndexMapping, index_mapping.update_concat_index_mapping = plain


def _graph(model: nn.Module, example_input: Tensor) -> Any:
    """Build the graph, with the layers that the model's forward hides from autograd if that is possible."""

    def build() -> Any:
        return _Graph().build_dependency(
            model, example_input, customized_pruners=CUSTOM_PRUNERS, verbose=False
        )

    try:
        with throughout():
            return build()
    except RuntimeError:
        # Such as a forward that changes a parameter in place.
        return build()


def dependency_groups(
    model: nn.Module, example_input: Tensor
) -> tuple[Any, list[Any], list[tuple[nn.Module, str]]]:
    """Return the dependency graph of a model and its groups, except those of attention heads.

    Args:
        model: model in float32 and eval mode; its parameters are set to require gradients, for the graph.
        example_input: a batch that the model accepts.

    Returns:
        The graph; its groups, each with all its channels; and the layers whose group could not be walked,
        with the reason.

    Raises:
        Exception: any error of the library when it cannot build the graph.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    with _bounded(), standing_in(model), warnings.catch_warnings(), torch.enable_grad():
        # The graph warns of bare parameters and unknown operators; the proofs decide about them.
        warnings.simplefilter("ignore")
        graph = _graph(model, example_input)
        groups: list[Any] = []
        failures: list[tuple[nn.Module, str]] = []
        limits = Limits.of(model, sum(len(node.dependencies) for node in graph.module2node.values()))
        seen = entrances(model) | gated_entrances(model)
        for module in list(graph.module2node):
            if not isinstance(module, ROOTS) or module in seen:
                continue
            try:
                group = graph.group_of(module, limits)
            except Exception as error:
                failures.append(
                    (module, f"its dependencies cannot be followed ({type(error).__name__}: {error})")
                )
                continue
            groups.append(group)
            seen.update(dep.target.module for dep, _ in group if graph.is_out_channel_pruning_fn(dep.handler))
    return graph, groups, failures
