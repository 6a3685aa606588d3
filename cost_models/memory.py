"""Bytes: of the packed parameters, of the whole file, and of activations while running."""

from __future__ import annotations

import numpy as np
from torch import nn

from compressors import Configuration
from compressors.layout import layout
from compressors.layout import memory_bytes as data_bytes
from cost_models.allocations import peak, watch
from cost_models.profile import Profile
from cost_models.registry import Cost, CostModel, register
from targets.errors import EvaluationError

_CHANGED = (
    "changes which tensors the model makes, so its activation memory cannot be predicted; the model's control "
    "flow depends on its channel counts"
)


def memory_bytes(profile: Profile) -> Cost:
    """Length of the packed artifact's data section."""
    return lambda configuration: float(data_bytes(profile.structure, configuration))


def file_bytes(profile: Profile) -> Cost:
    """Length of the packed artifact, header included."""
    return lambda configuration: float(layout(profile.structure, configuration, profile.target).file_bytes)


def activation_memory_bytes(profile: Profile) -> Cost:
    """Peak bytes of activations alive at once while the model runs eagerly on one input, input included.

    Tensors count at the widest activation width used by any layer (float32 when one layer's input is not
    quantised). Storages are those of the dense model's pass, scaled by the kept channels; the slopes are
    measured by cutting each group alone.

    Raises:
        EvaluationError: cutting groups changes the order in which tensors come and go, or their sizes otherwise
            than in proportion.
    """
    dense = profile.allocations
    base = np.asarray(dense.sizes, dtype=np.float64)
    groups = profile.structure.groups
    names = list(groups)
    slopes = np.zeros((len(base), len(names)))
    for column, name in enumerate(names):
        probe = profile.probes[name]
        if probe.allocations.events != dense.events:
            raise EvaluationError(f"cutting group '{name}' {_CHANGED}")
        slopes[:, column] = (base - np.asarray(probe.allocations.sizes)) / probe.removed
    if names:
        joint = profile.joint
        removed = np.asarray([g.units - joint.configuration.channels[n] for n, g in groups.items()])
        expected = np.asarray(joint.allocations.sizes, dtype=np.float64)
        if joint.allocations.events != dense.events or not np.allclose(base - slopes @ removed, expected):
            raise EvaluationError(f"cutting all groups {_CHANGED}")
    events = np.asarray(dense.events, dtype=np.int64)
    comes = events >= 0
    storages = np.where(comes, events, -events - 1)
    signs = np.where(comes, 1.0, -1.0)
    example = profile.example_input
    held = example.numel() * example.element_size()
    units = np.asarray([group.units for group in groups.values()])
    layers = profile.structure.layers

    def cost(configuration: Configuration) -> float:
        removed = units - np.asarray(
            [configuration.channels.get(n, u) for n, u in zip(names, units, strict=True)]
        )
        sizes = base - slopes @ removed if len(names) else base
        most = float(np.cumsum(sizes[storages] * signs).max(initial=0.0)) + held
        widths = [configuration.activation_bits.get(layer, 32) for layer in layers]
        return float(round(most * max(widths, default=32) / 32))

    return cost


def measured_activation_bytes(profile: Profile, module: nn.Module) -> float:
    """The same peak watched on a module itself, float32: what the prediction is tested against."""
    example = profile.example_input
    return peak(watch(module, example)) + example.numel() * example.element_size()


register(
    CostModel(
        "memory_bytes",
        "memory",
        "byte",
        memory_bytes,
        "data section of the packed artifact (compressors.layout)",
    )
)
register(
    CostModel("file_bytes", "file_size", "byte", file_bytes, "whole packed artifact (compressors.layout)")
)
register(
    CostModel(
        "activation_memory_bytes",
        "activation_memory",
        "byte",
        activation_memory_bytes,
        "peak of live activation storages, batch 1, eager execution",
    )
)
