"""What of a model can be compressed: its layers, its channel groups, and the shapes a configuration gives them.

Everything here is numbers and names: no module, no tensor. It is derived once from the dense model
(`leanfront.core.compressors.structure.derivation`) and then serves the search space, the layout and the cost models.
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
    """A module with tensors of its own, as the dense model has it.

    Args:
        name: dotted path of the module.
        kind: ``conv``, ``depthwise``, ``linear``, ``norm``, ``channelwise``, ``shortcut``, ``heads`` (attention,
            whose channels are its heads), ``pointwise`` (tensors that are the same for all channels) or ``other``.
        inputs: input channels or features (for one-sided kinds the same as `outputs`).
        outputs: output channels or features.
        groups: channel groups of a convolution, 1 otherwise.
        kernel: weights per (input, output) pair: product of the kernel's sides.
        bias: whether a conv or linear layer has one.
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
        """Its channel counts where that many are left on each side."""
        if self.kind in CONSUMERS:
            return Shape(inputs, outputs, self.groups)
        # One-sided modules are cut once, whichever side the graph names.
        cut = min(inputs, outputs)
        return Shape(cut, cut, cut if self.kind == "depthwise" else self.groups)


def weight_count(inputs: int, outputs: int, groups: int, kernel: int) -> int:
    """Weights of a convolution or linear map: outputs x (inputs / groups) x kernel."""
    return outputs * (inputs // groups) * kernel


@dataclass(frozen=True)
class Member:
    """A module's side that a channel group cuts.

    Args:
        part: name of the module or, for a bare parameter, of the parameter.
        side: ``in``, ``out`` or ``parameter``.
        indices: unit -> the module's own channel indices that go with it; all units have equally many.
    """

    part: str
    side: str
    indices: tuple[tuple[int, ...], ...]

    @property
    def per_unit(self) -> int:
        """Channels of this module that one unit takes."""
        return len(self.indices[0])


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be cut together, across all the modules they pass through.

    Args:
        name: the first module, in the model's order, that produces the channels.
        units: number of units; a unit is one channel, or one channel of every group of a grouped convolution.
        members: every module side that is cut with it.
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
    """A model as the compressors see it.

    Args:
        parts: every module with tensors, by name, in the model's order.
        groups: proven channel groups by name.
        layers: names of the layers whose weights are quantised and sparsified.
        exclusions: what is left alone: (name, what, reason).
        parameters: number of parameters, each counted once.
        uncalled: layers whose weights their parent reads itself (as multi-head attention does with its output
            projection): they are never called, so there is no input of theirs to quantise.
    """

    parts: Mapping[str, Part]
    groups: Mapping[str, ChannelGroup]
    layers: tuple[str, ...]
    exclusions: tuple[tuple[str, str, str], ...] = ()
    parameters: int = 0
    uncalled: tuple[str, ...] = ()

    def canonical(self, configuration: Configuration) -> Configuration:
        """The configuration without what equals the dense model.

        Raises:
            ConfigurationError: it names a group or layer the model has not, or keeps more than there is.
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
            # A sparsity that zeroes no weight of a layer (a small one, or 2:4 over fewer than four inputs).
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
        """Channel counts of every part under a configuration."""
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
        """Bare parameters -> entries cut from their cut dimension."""
        gone: dict[str, int] = {}
        for name, kept in configuration.channels.items():
            group = self.groups[name]
            for member in group.members:
                if member.side == "parameter":
                    gone[member.part] = gone.get(member.part, 0) + (group.units - kept) * member.per_unit
        return gone


def nonzeros(part: Part, shape: Shape, sparsity: Sparsity | None) -> int:
    """Weights a layer stores one by one: k = round(n (1 - s)) for unstructured, 2 of every 4 inputs for 2:4.

    Under 2:4 the groups of four run over the inputs, at each kernel position; a remainder of fewer than four
    inputs stays dense.
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
