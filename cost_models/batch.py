"""Batches of configurations as arrays, for searches that compare the costs of thousands of candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.artifact.layout import BYTES
from leanfront.core.compressors.configuration import FLOAT_BITS
from leanfront.core.compressors.structure.structure import CONSUMERS

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

PATTERN = -1.0
"""The value in `Batch.sparsity` that stands for 2:4."""


class Frame:
    """The numbers of a structure as arrays, in the order of its parts, groups and layers.

    Args:
        structure: structure of the dense model.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.parts = {name: position for position, name in enumerate(structure.parts)}
        self.groups = {name: position for position, name in enumerate(structure.groups)}
        self.layers = {name: position for position, name in enumerate(structure.layers)}
        self.units = np.asarray([group.units for group in structure.groups.values()], dtype=np.int64)
        parts = list(structure.parts.values())
        self.inputs = np.asarray([part.inputs for part in parts], dtype=np.int64)
        self.outputs = np.asarray([part.outputs for part in parts], dtype=np.int64)
        self.one_sided = np.asarray([part.kind not in CONSUMERS for part in parts], dtype=np.bool_)
        # Channels that a part loses with each removed unit of a group: (groups, parts).
        self.cut_inputs = np.zeros((len(self.groups), len(parts)))
        self.cut_outputs = np.zeros_like(self.cut_inputs)
        self.cut_parameters: dict[str, list[tuple[int, int]]] = {}
        for row, group in enumerate(structure.groups.values()):
            for member in group.members:
                if member.side == "parameter":
                    self.cut_parameters.setdefault(member.part, []).append((row, member.per_unit))
                    continue
                cuts = self.cut_inputs if member.side == "in" else self.cut_outputs
                cuts[row, self.parts[member.part]] += member.per_unit
        layers = [structure.parts[name] for name in structure.layers]
        self.layer_parts = np.asarray([self.parts[layer.name] for layer in layers], dtype=np.int64)
        self.layer_groups = np.asarray([layer.groups for layer in layers], dtype=np.int64)
        self.depthwise = np.asarray([layer.kind == "depthwise" for layer in layers], dtype=np.bool_)
        self.kernels = np.asarray([layer.kernel for layer in layers], dtype=np.int64)
        self.biases = np.asarray([layer.bias for layer in layers], dtype=np.int64)
        self.own_bits = np.asarray([8 * BYTES[layer.dtype] for layer in layers], dtype=np.int64)


@dataclass(frozen=True)
class Batch:
    """n configurations of one structure.

    Args:
        frame: frame of the structure.
        kept: (n, groups) kept units.
        weight_bits: (n, layers), 32 for float.
        activation_bits: (n, layers), 32 for float and for layers that cannot have a quantiser.
        sparsity: (n, layers) shares of zeroed weights, 0 for none, `PATTERN` for 2:4.
        dynamic: whether activation ranges are computed at run time, so that none is stored.
    """

    frame: Frame
    kept: Integers
    weight_bits: Integers
    activation_bits: Integers
    sparsity: Floats
    dynamic: bool = False

    def __len__(self) -> int:
        return len(self.kept)

    @cached_property
    def removed(self) -> Integers:
        """(n, groups) units that are cut."""
        return self.frame.units - self.kept

    @cached_property
    def _shapes(self) -> tuple[Integers, Integers]:
        frame = self.frame
        # BLAS multiplies floating point, in which whole numbers of this size are exact.
        removed = self.removed.astype(np.float64)
        inputs = frame.inputs - (removed @ frame.cut_inputs).astype(np.int64)
        outputs = frame.outputs - (removed @ frame.cut_outputs).astype(np.int64)
        both = np.minimum(inputs, outputs)
        return np.where(frame.one_sided, both, inputs), np.where(frame.one_sided, both, outputs)

    @property
    def inputs(self) -> Integers:
        """(n, parts) input channels."""
        return self._shapes[0]

    @property
    def outputs(self) -> Integers:
        """(n, parts) output channels."""
        return self._shapes[1]

    @cached_property
    def layer_outputs(self) -> Integers:
        """(n, layers) output channels."""
        return self.outputs[:, self.frame.layer_parts]

    @cached_property
    def fan_in(self) -> Integers:
        """(n, layers) input channels that one output reads."""
        inputs = self.inputs[:, self.frame.layer_parts]
        groups = np.where(self.frame.depthwise, inputs, self.frame.layer_groups)
        return np.asarray(inputs // np.maximum(groups, 1), dtype=np.int64)

    @cached_property
    def weights(self) -> Integers:
        """(n, layers) weights, zeroed ones included."""
        return np.asarray(self.layer_outputs * self.fan_in * self.frame.kernels, dtype=np.int64)

    @cached_property
    def nonzeros(self) -> Integers:
        """(n, layers) weights stored one by one, as `leanfront.core.compressors.structure.structure.nonzeros`."""
        if not self.sparsity.any():
            return self.weights
        rows = self.layer_outputs * self.frame.kernels
        pattern = rows * (2 * (self.fan_in // 4) + self.fan_in % 4)
        share = np.maximum(1, np.rint(self.weights * (1 - self.sparsity))).astype(np.int64)
        return np.where(
            self.sparsity == PATTERN, pattern, np.where(self.sparsity > 0, share, self.weights)
        ).astype(np.int64)

    @property
    def unnamed(self) -> tuple[str, ...]:
        """Convolutions and linear maps that configurations do not name, since they are not quantised."""
        structure = self.frame.structure
        return tuple(n for n, part in structure.parts.items() if part.is_layer and n not in self.frame.layers)

    def weights_of(self, name: str) -> Integers:
        """(n,) weights of a convolution or linear map, also of one of `unnamed`."""
        part, column = self.frame.structure.parts[name], self.frame.parts[name]
        inputs, outputs = self.inputs[:, column], self.outputs[:, column]
        groups = outputs if part.kind == "depthwise" else part.groups
        return np.asarray(outputs * (inputs // np.maximum(groups, 1)) * part.kernel, dtype=np.int64)

    def gone(self, parameter: str) -> Integers | None:
        """Return the entries (n,) cut from a bare parameter, or None if no group cuts it."""
        cuts = self.frame.cut_parameters.get(parameter)
        if cuts is None:
            return None
        return np.asarray(sum(self.removed[:, row] * each for row, each in cuts), dtype=np.int64)


@runtime_checkable
class BatchedCost(Protocol):
    """A cost function that can also compute many configurations at once."""

    def __call__(self, configuration: Configuration) -> float:
        """Compute the cost of one configuration."""
        ...

    def many(self, batch: Batch) -> Floats:
        """Compute the costs (n,), each equal to the cost of the configuration alone."""
        ...


@runtime_checkable
class EstimatedCost(Protocol):
    """A cost function whose values are predictions."""

    def __call__(self, configuration: Configuration) -> float:
        """Predict the cost of one configuration."""
        ...

    def bounds(self, value: float) -> tuple[float, float]:
        """Return the ends of the 95% interval of a value."""
        ...


@dataclass(frozen=True)
class Both:
    """A cost made of two functions, one for a configuration and one for a batch."""

    one: Callable[[Configuration], float]
    batch: Callable[[Batch], Floats]

    def __call__(self, configuration: Configuration) -> float:
        """Compute the cost of one configuration."""
        return self.one(configuration)

    def many(self, batch: Batch) -> Floats:
        """Compute the costs (n,)."""
        return self.batch(batch)


class Choice(Protocol):
    """A parameter of a search space: the values that one group or layer can take."""

    @property
    def kind(self) -> str:
        """``channels``, ``weight``, ``activation`` or ``sparsity``."""
        ...

    @property
    def subject(self) -> str:
        """Name of the group or layer."""
        ...

    @property
    def values(self) -> tuple[object, ...]:
        """Values to choose from."""
        ...


class Encoder:
    """Turns choices, which are indices into the values of each parameter, into batches.

    Args:
        frame: frame of the structure.
        choices: parameters, in the order of the index columns.
        base: canonical configuration that applies where there is no parameter.
    """

    def __init__(self, frame: Frame, choices: Mapping[str, Choice], base: Configuration) -> None:
        self.frame = frame
        structure = frame.structure
        layers = structure.layers
        self._kept = np.asarray(
            [base.channels.get(n, g.units) for n, g in structure.groups.items()], np.int64
        )
        self._weights = np.asarray([base.weight_bits.get(n, FLOAT_BITS) for n in layers], dtype=np.int64)
        self._activations = np.asarray(
            [base.activation_bits.get(n, FLOAT_BITS) for n in layers], dtype=np.int64
        )
        self._sparsity = np.asarray([_share(base.sparsity.get(n, 0.0)) for n in layers], dtype=np.float64)
        self._dynamic = base.activation_range == "dynamic"
        self._columns: dict[str, tuple[list[int], list[int]]] = {}
        self._tables: dict[str, Floats] = {}
        most = max((len(choice.values) for choice in choices.values()), default=1)
        tables: dict[str, list[Floats]] = {}
        for column, choice in enumerate(choices.values()):
            sources, targets = self._columns.setdefault(choice.kind, ([], []))
            if choice.kind == "activation" and choice.subject in structure.uncalled:
                continue
            sources.append(column)
            targets.append((frame.groups if choice.kind == "channels" else frame.layers)[choice.subject])
            row = np.zeros(most)
            row[: len(choice.values)] = [_share(value) for value in choice.values]
            tables.setdefault(choice.kind, []).append(row)
        for kind, rows in tables.items():
            self._tables[kind] = np.asarray(rows)

    def batch(self, indices: Integers) -> Batch:
        """Return the configurations of indices (n, parameters)."""
        count = len(indices)
        base: dict[str, NDArray[np.generic]] = {
            "channels": self._kept,
            "weight": self._weights,
            "activation": self._activations,
            "sparsity": self._sparsity,
        }
        arrays = {}
        for kind, row in base.items():
            array = np.repeat(row[None], count, axis=0)
            if kind in self._tables:
                sources, targets = self._columns[kind]
                table = self._tables[kind]
                array[:, targets] = table[np.arange(len(table)), indices[:, sources]]
            arrays[kind] = array
        return Batch(
            self.frame,
            arrays["channels"].astype(np.int64, copy=False),
            arrays["weight"].astype(np.int64, copy=False),
            arrays["activation"].astype(np.int64, copy=False),
            arrays["sparsity"].astype(np.float64, copy=False),
            self._dynamic,
        )


def _share(value: object) -> float:
    if value == "2:4":
        return PATTERN
    if not isinstance(value, int | float):
        raise TypeError(f"a choice must be a number or '2:4', not {value!r}")
    return float(value)
