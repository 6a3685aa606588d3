"""torch-pruning's dependency graph with size limits: if it misreads a model, it fails instead of filling memory."""

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
from leanfront.core.compressors.structure.gradients import throughout
from leanfront.core.compressors.structure.modules import CUSTOM_PRUNERS
from leanfront.core.compressors.structure.stand_ins import standing_in

MOST_INDICES = 500_000
"""Maximum number of channel indices of a group, over all members. VGG-16's widest group has about 100,000."""

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


class _BoundedGroup(Group):  # type: ignore[misc]
    def add_dep(self, dep: Any, idxs: Any) -> None:
        # A member without indices counts as one; otherwise a circle of empty members would never end.
        self.indices = getattr(self, "indices", 0) + max(1, len(idxs))
        if self.indices > MOST_INDICES:
            raise GraphTooLargeError(f"it grows beyond {MOST_INDICES:,} channel indices")
        super().add_dep(dep, idxs)


@contextmanager
def _bounded() -> Iterator[None]:
    """Replace classes of the library by bounded ones while its graph is built and walked."""
    with _swapping:
        plain = index_mapping._FlattenIndexMapping, graph_module.Group
        index_mapping._FlattenIndexMapping, graph_module.Group = _BoundedFlatten, _BoundedGroup
        try:
            yield
        finally:
            index_mapping._FlattenIndexMapping, graph_module.Group = plain


def _graph(model: nn.Module, example_input: Tensor) -> Any:
    """Build the graph, with the layers that the model's forward hides from autograd if that is possible."""

    def build() -> Any:
        return torch_pruning.DependencyGraph().build_dependency(
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
