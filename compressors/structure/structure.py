"""Structure of a model: its layers, its channel groups, and their shapes under a configuration.

It holds only numbers and names, no modules or tensors. It is derived once from the dense model
(`leanfront.core.compressors.structure.derivation`) and used by the search space, the layout and the cost models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leanfront.core.compressors.configuration import Configuration, Sparsity
from leanfront.errors import ConfigurationError

CONSUMERS = ("conv", "linear", "shortcut")
"""Kinds of module whose input and output channels are cut independently of each other."""


@dataclass(frozen=True)
class Part:
    """A module of the dense model that has tensors of its own.

    Args:
        name: dotted path of the module.
        kind: ``conv``, ``depthwise``, ``linear``, ``norm``, ``channelwise``, ``shortcut``, ``heads`` (attention,
            whose channels are its heads), ``pointwise`` (tensors that are the same for all channels) or ``other``.
        inputs: number of input channels or features (equal to `outputs` for one-sided kinds).
        outputs: number of output channels or features.
        groups: channel groups of a convolution, 1 otherwise.
        kernel: weights per (input, output) pair: product of the kernel's sides.
        bias: whether a convolution or linear layer has a bias.
        tensors: other tensors, name -> (shape, dtype name, cut dimension or None).
        folded: whether running statistics fold into scale and shift (batch norm in inference form).
        transposed: whether it is a transposed convolution.
        dtype: type of a layer's own weights and bias.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    groups: int = 1
    kernel: int = 1
    bias: bool = False
    tensors: Mapping[str, tuple[tuple[int, ...], str, int | None]] = field(default_factory=dict)
    folded: bool = False
    transposed: bool = False
    dtype: str = "float32"

    @property
    def is_layer(self) -> bool:
        """Whether it is a quantisable layer: a convolution or a linear map."""
        return self.kind in ("conv", "depthwise", "linear")

    @property
    def weights(self) -> int:
        """Number of weights of a layer."""
        return weight_count(self.inputs, self.outputs, self.groups, self.kernel)

    def shape(self, inputs: int, outputs: int) -> Shape:
        """Return the channel counts when this many inputs and outputs are left."""
        if self.kind in CONSUMERS:
            return Shape(inputs, outputs, self.groups)
        # One-sided modules are cut once, whichever side the graph names.
        cut = min(inputs, outputs)
        return Shape(cut, cut, cut if self.kind == "depthwise" else self.groups)


def weight_count(inputs: int, outputs: int, groups: int, kernel: int) -> int:
    """Return the number of weights of a convolution or linear map: outputs x (inputs / groups) x kernel."""
    return outputs * (inputs // groups) * kernel


@dataclass(frozen=True)
class Member:
    """A side of a module that a channel group cuts.

    Args:
        part: name of the module or, for a bare parameter, of the parameter.
        side: ``in``, ``out`` or ``parameter``.
        indices: unit -> the module's channel indices that are cut with it; all units have equally many.
    """

    part: str
    side: str
    indices: tuple[tuple[int, ...], ...]

    @property
    def per_unit(self) -> int:
        """Number of this module's channels per unit."""
        return len(self.indices[0])


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be cut together, across all the modules they pass through.

    Args:
        name: name of the first module, in the model's order, that produces the channels.
        units: number of units; a unit is one channel, or one channel of every group of a grouped convolution.
        members: all module sides that are cut together.
    """

    name: str
    units: int
    members: tuple[Member, ...]

    @property
    def producers(self) -> tuple[str, ...]:
        """Modules whose outputs are cut."""
        return tuple(member.part for member in self.members if member.side == "out")


@dataclass(frozen=True)
class Shape:
    """Channel counts of a part under a configuration."""

    inputs: int
    outputs: int
    groups: int


@dataclass(frozen=True)
class Structure:
    """Structure of a model: its parts, layers and channel groups.

    Args:
        parts: every module with tensors, by name, in the model's order.
        groups: proven channel groups by name.
        layers: names of the layers whose weights are quantised and sparsified.
        exclusions: modules and groups that are left alone: (name, what, reason).
        parameters: number of parameters, each counted once.
        uncalled: layers that are never called, because their parent reads their weights (such as the output
            projection of multi-head attention); they have no input to quantise.
    """

    parts: Mapping[str, Part]
    groups: Mapping[str, ChannelGroup]
    layers: tuple[str, ...]
    exclusions: tuple[tuple[str, str, str], ...] = ()
    parameters: int = 0
    uncalled: tuple[str, ...] = ()

    def canonical(self, configuration: Configuration) -> Configuration:
        """Return the configuration without settings that equal the dense model.

        Raises:
            ConfigurationError: it names an unknown group or layer, or keeps more channels than there are.
        """
        _known(configuration.channels, self.groups, "channel group")
        for what, mapping in (
            ("layer (weight bits)", configuration.weight_bits),
            ("layer (activation bits)", configuration.activation_bits),
            ("layer (sparsity)", configuration.sparsity),
        ):
            _known(mapping, self.layers, what)
        for name, kept in configuration.channels.items():
            if kept > self.groups[name].units:
                raise ConfigurationError(
                    f"group '{name}' has {self.groups[name].units} channels; {kept} cannot be kept"
                )
        changes: dict[str, Any] = {
            "channels": {
                n: kept for n, kept in configuration.channels.items() if kept < self.groups[n].units
            },
            "activation_bits": {
                n: bits for n, bits in configuration.activation_bits.items() if n not in self.uncalled
            },
        }
        if configuration.sparsity:
            # Drop a sparsity that zeroes no weight of a layer (a small share, or 2:4 over fewer than four inputs).
            shapes = self.shapes(configuration)
            changes["sparsity"] = {
                name: sparsity
                for name, sparsity in configuration.sparsity.items()
                if nonzeros(self.parts[name], shapes[name], sparsity)
                < nonzeros(self.parts[name], shapes[name], None)
            }
        changed = any(len(values) != len(getattr(configuration, key)) for key, values in changes.items())
        return configuration.change(**changes) if changed else configuration

    def shapes(self, configuration: Configuration) -> dict[str, Shape]:
        """Return the channel counts of every part under a configuration."""
        inputs = {name: part.inputs for name, part in self.parts.items()}
        outputs = {name: part.outputs for name, part in self.parts.items()}
        for name, kept in configuration.channels.items():
            group = self.groups[name]
            for member in group.members:
                if member.side == "parameter":
                    continue
                gone = (group.units - kept) * member.per_unit
                if member.side == "in":
                    inputs[member.part] -= gone
                else:
                    outputs[member.part] -= gone
        return {name: part.shape(inputs[name], outputs[name]) for name, part in self.parts.items()}

    def cut_parameters(self, configuration: Configuration) -> dict[str, int]:
        """Return, for each bare parameter, the number of entries cut from its cut dimension."""
        gone: dict[str, int] = {}
        for name, kept in configuration.channels.items():
            group = self.groups[name]
            for member in group.members:
                if member.side == "parameter":
                    gone[member.part] = gone.get(member.part, 0) + (group.units - kept) * member.per_unit
        return gone


def nonzeros(part: Part, shape: Shape, sparsity: Sparsity | None) -> int:
    """Return the number of weights that a layer stores.

    A share s of n weights leaves k = round(n (1 - s)), at least 1. Under 2:4 two of every four inputs stay, at each
    kernel position; a remainder of fewer than four inputs stays dense.
    """
    inputs = shape.inputs // shape.groups
    total = weight_count(shape.inputs, shape.outputs, shape.groups, part.kernel)
    if sparsity is None:
        return total
    if sparsity == "2:4":
        return shape.outputs * part.kernel * (2 * (inputs // 4) + inputs % 4)
    # At least one weight stays, so that a layer never falls silent by rounding.
    return max(1, round(total * (1 - float(sparsity))))


def _known(mapping: Mapping[str, Any], known: Mapping[str, Any] | Sequence[str], what: str) -> None:
    unknown = [name for name in mapping if name not in known]
    if unknown:
        raise ConfigurationError(
            f"no such {what}: {', '.join(unknown)}; the model has: {', '.join(list(known)[:12])}"
            + (" ..." if len(known) > 12 else "")
        )
