"""Memory costs: bytes of the packed parameters, of the whole file, and of activations at run time."""

from __future__ import annotations

import numpy as np

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.artifact.layout import BYTES, layout
from leanfront.core.compressors.artifact.layout import memory_bytes as data_bytes
from leanfront.core.compressors.configuration import FLOAT_BITS
from leanfront.core.cost_models.batch import PATTERN, Batch, Both, Floats, Integers
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.registry import Cost
from leanfront.errors import EvaluationError

_CHANGED = (
    "changes which tensors the model makes, so its activation memory cannot be predicted; the model's control "
    "flow depends on its channel counts"
)


def memory_bytes(profile: Profile) -> Cost:
    """Build the cost in bytes of the packed artifact's data section."""
    return Both(lambda configuration: float(data_bytes(profile.structure, configuration)), memory_many)


def memory_many(batch: Batch) -> Floats:
    """Compute the bytes (n,) of a batch, equal to those of `leanfront.core.compressors.artifact.layout`."""
    structure = batch.frame.structure
    total = _layer_bytes(batch).sum(axis=1)
    for name in batch.unnamed:
        part = structure.parts[name]
        stored = batch.weights_of(name) + part.bias * batch.outputs[:, batch.frame.parts[name]]
        total += stored * BYTES[part.dtype]
    for column, (name, part) in enumerate(structure.parts.items()):
        outputs = batch.outputs[:, column]
        if part.kind == "shortcut":
            cut = (batch.inputs[:, column] != part.inputs) | (outputs != part.outputs)
            total += np.where(cut, 2 * outputs, 0)
        if part.folded:
            total += 8 * outputs
            continue
        for tensor, (dense, dtype, dimension) in part.tensors.items():
            count = np.ones(len(batch), dtype=np.int64)
            for axis, side in enumerate(dense):
                if axis == dimension:
                    gone = batch.gone(f"{name}.{tensor}" if name else tensor)
                    lost = part.outputs - outputs
                    # A group that cuts the parameter itself decides how much of it is cut.
                    count *= side - (lost if gone is None else np.where(gone > 0, gone, lost))
                else:
                    count *= side
            total += count * BYTES[dtype]
    return np.asarray(total, dtype=np.float64)


def _layer_bytes(batch: Batch) -> Integers:
    """Compute the bytes (n, layers) of weights with their scales and masks, biases and activation quantisers."""
    frame, bits, stored = batch.frame, batch.weight_bits, batch.nonzeros
    outputs, total = batch.layer_outputs, batch.weights
    width = np.where(bits == FLOAT_BITS, frame.own_bits, bits)
    size = (stored * width + 7) // 8 + np.where(bits < 16, 2 * outputs, 0)
    if batch.sparsity.any():
        # A sparsity that zeroes no weight stores no mask.
        sparse = stored < total
        pairs = (batch.fan_in // 4 * frame.kernels * outputs * 4 + 7) // 8
        # bit_length of total - 1, which frexp gives exactly.
        width = np.maximum(1, np.frexp((total - 1).astype(np.float64))[1].astype(np.int64))
        index = np.where(stored * width < total, (stored * width + 7) // 8, (total + 7) // 8)
        size += np.where(sparse & (batch.sparsity == PATTERN), pairs, 0)
        size += np.where(sparse & (batch.sparsity > 0), index, 0)
    size += frame.biases * (outputs * frame.own_bits // 8)
    if not batch.dynamic:
        size += np.where(batch.activation_bits < FLOAT_BITS, 5, 0)
    return np.asarray(size, dtype=np.int64)


def file_bytes(profile: Profile) -> Cost:
    """Build the cost in bytes of the packed artifact, header included."""
    return lambda configuration: float(layout(profile.structure, configuration, profile.target).file_bytes)


def activation_memory_bytes(profile: Profile) -> Cost:
    """Build the cost in peak bytes of activations while the model runs eagerly on one input, input included.

    Tensors count at the widest activation width used by any layer (float32 if one layer's input is not quantised).
    Storages are those of the dense model's pass, scaled by the kept channels; the slopes are measured by cutting
    each group alone.

    Raises:
        EvaluationError: cutting groups changes the order in which tensors are allocated and freed, or changes
            their sizes out of proportion.
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

    def many(batch: Batch) -> Floats:
        sizes = base - batch.removed @ slopes.T if len(names) else np.repeat(base[None], len(batch), axis=0)
        most = np.cumsum(sizes[:, storages] * signs, axis=1).max(axis=1, initial=0.0) + held
        widths = batch.activation_bits.max(axis=1) if len(layers) else 32
        return np.asarray(np.rint(most * widths / 32), dtype=np.float64)

    return Both(cost, many)
