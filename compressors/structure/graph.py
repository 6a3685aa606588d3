"""torch-pruning's dependency graph, with limits: on a model it misreads it must give up, not fill the memory."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.dependency import graph as graph_module
from torch_pruning.dependency import index_mapping
from torch_pruning.dependency.group import Group

from leanfront.core.compressors.structure.attention_heads import entrances
from leanfront.core.compressors.structure.modules import CUSTOM_PRUNERS
from leanfront.core.compressors.structure.stand_ins import standing_in

MOST_INDICES = 500_000
"""Channel indices of a group, summed over its members. VGG-16's widest group has about 100,000."""

ROOTS = (nn.modules.conv._ConvNd, nn.Linear)
_swapping = threading.Lock()


class GraphTooLargeError(RuntimeError):
    """The graph follows a model's reshapes in circles."""


class _BoundedFlatten(index_mapping._FlattenIndexMapping):  # type: ignore[misc]
    """The one mapping that makes indices more: each channel becomes several features."""

    def __call__(self, idxs: Any) -> Any:
        if not self.reverse and len(idxs) * self._stride > MOST_INDICES:
            raise GraphTooLargeError(f"a reshape turns its channels into over {MOST_INDICES:,} features")
        return super().__call__(idxs)


class _BoundedGroup(Group):  # type: ignore[misc]
    def add_dep(self, dep: Any, idxs: Any) -> None:
        # A member without indices counts as one, or a circle of empty ones would never end.
        self.indices = getattr(self, "indices", 0) + max(1, len(idxs))
        if self.indices > MOST_INDICES:
            raise GraphTooLargeError(f"it grows beyond {MOST_INDICES:,} channel indices")
        super().add_dep(dep, idxs)


@contextmanager
def _bounded() -> Iterator[None]:
    """Put the limits in the place of the library's own classes while its graph is built and walked."""
    with _swapping:
        plain = index_mapping._FlattenIndexMapping, graph_module.Group
        index_mapping._FlattenIndexMapping, graph_module.Group = _BoundedFlatten, _BoundedGroup
        try:
            yield
        finally:
            index_mapping._FlattenIndexMapping, graph_module.Group = plain


def dependency_groups(
    model: nn.Module, example_input: Tensor
) -> tuple[Any, list[Any], list[tuple[nn.Module, str]]]:
    """The dependency graph of a model and its groups, but for attention's heads.

    Args:
        model: float32, eval mode; its parameters are made to require gradients, which the graph follows.
        example_input: a batch the model accepts.

    Returns:
        The graph; its groups, each with all its channels; and the layers whose group could not be walked,
        with the reason.

    Raises:
        Exception: whatever the library raises where it cannot build the graph at all.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    with _bounded(), standing_in(model), warnings.catch_warnings(), torch.enable_grad():
        # The graph warns of bare parameters and unknown operators; proofs judge them.
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph().build_dependency(
            model, example_input, customized_pruners=CUSTOM_PRUNERS, verbose=False
        )
        groups: list[Any] = []
        failures: list[tuple[nn.Module, str]] = []
        seen = entrances(model)
        for module in list(graph.module2node):
            if not isinstance(module, ROOTS) or module in seen:
                continue
            pruner = graph.get_pruner_of_module(module)
            channels = pruner.get_out_channels(module)
            try:
                group = graph.get_pruning_group(module, pruner.prune_out_channels, list(range(channels)))
            except Exception as error:
                failures.append(
                    (module, f"its dependencies cannot be followed ({type(error).__name__}: {error})")
                )
                continue
            groups.append(group)
            seen.update(dep.target.module for dep, _ in group if graph.is_out_channel_pruning_fn(dep.handler))
    return graph, groups, failures
