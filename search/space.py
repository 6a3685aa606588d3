"""The search space of a model: one integer parameter per choice, ordered from cheapest to dearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import IntDistribution

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.configuration import (
    ACTIVATION_BITS,
    Sparsity,
)
from leanfront.core.search.space_options import Bounds, SpaceOptions
from leanfront.errors import UsageError

CHANNEL_STEPS = 8
"""Kept channels are multiples of an eighth of the group, up to the whole group."""
SPARSITY_LEVELS: tuple[Sparsity, ...] = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.25, 0.0)


@dataclass(frozen=True)
class Parameter:
    """One integer choice: an index into `values`, cheapest first."""

    name: str
    kind: str
    subject: str
    values: tuple[Any, ...]

    @property
    def distribution(self) -> IntDistribution:
        """Return Optuna's distribution of the index, an ordinal, so that samplers know which values are near."""
        return IntDistribution(0, len(self.values) - 1)


@dataclass(frozen=True)
class Space:
    """All configurations that a search may try.

    Args:
        structure: structure of the model.
        options: options chosen by the user.
        parameters: parameters by name, in the model's order.
    """

    structure: Structure
    options: SpaceOptions
    parameters: Mapping[str, Parameter]

    def configuration(self, choices: Mapping[str, int]) -> Configuration:
        """Build the configuration from an index per parameter.

        Raises:
            UsageError: a parameter is missing or its index is out of range.
        """
        picked: dict[str, dict[str, Any]] = {"channels": {}, "weight": {}, "activation": {}, "sparsity": {}}
        for name, parameter in self.parameters.items():
            index = choices.get(name)
            if index is None or not 0 <= index < len(parameter.values):
                raise UsageError(f"parameter '{name}' must be in 0..{len(parameter.values) - 1}, not {index}")
            picked[parameter.kind][parameter.subject] = parameter.values[index]
        if self.options.activation_bits == "8":
            picked["activation"] = dict.fromkeys(self.structure.layers, 8)
        configuration = Configuration(
            channels=picked["channels"],
            weight_bits=picked["weight"],
            activation_bits=picked["activation"],
            sparsity=picked["sparsity"],
            criterion=self.options.criterion,
            method=self.options.method,
            activation_range=self.options.activation_range,
            seed=self.options.seed,
        )
        return self.structure.canonical(configuration)

    def uniform(
        self, share: float, bits: int, activation_bits: int = 8, sparsity: float = 0.0
    ) -> dict[str, int]:
        """Return the choices nearest to a uniform share of channels, bit-width and sparsity."""
        wanted = {"weight": bits, "activation": activation_bits}
        choices = {}
        for name, parameter in self.parameters.items():
            if parameter.kind == "channels":
                goal: float = share * self.structure.groups[parameter.subject].units
            elif parameter.kind == "sparsity":
                goal = sparsity
            else:
                goal = wanted[parameter.kind]
            distances = [abs(_number(value) - goal) for value in parameter.values]
            choices[name] = distances.index(min(distances))
        return choices

    @property
    def cheapest(self) -> dict[str, int]:
        """Return the choices of lowest cost: every parameter at its cheapest value."""
        return dict.fromkeys(self.parameters, 0)

    @property
    def dearest(self) -> dict[str, int]:
        """Return the choices nearest to the dense model."""
        return {name: len(parameter.values) - 1 for name, parameter in self.parameters.items()}

    @property
    def size(self) -> float:
        """Number of configurations; infinite beyond floating point."""
        product = 1.0
        for parameter in self.parameters.values():
            product *= len(parameter.values)
        return product


def derive_space(structure: Structure, options: SpaceOptions) -> Space:
    """Derive the search space of a model.

    Raises:
        UsageError: nothing in the model can be compressed, or a bound names something that the model does not have.
    """
    _require_known(structure, options.bounds)
    parameters: dict[str, Parameter] = {}

    def add(kind: str, subject: str, values: Sequence[Any]) -> None:
        values = _within(options.bounds.get(subject, {}), kind, values)
        if len(values) > 1 or kind == "weight":
            name = f"{kind}/{subject}"
            parameters[name] = Parameter(name, kind, subject, tuple(values))

    for group in structure.groups.values():
        add("channels", group.name, channel_grid(group.units))
    for layer in structure.layers:
        add("weight", layer, options.bits)
        if options.sparsity == "unstructured":
            add("sparsity", layer, SPARSITY_LEVELS)
        elif options.sparsity == "2:4":
            add("sparsity", layer, ("2:4", 0.0))
        if options.activation_bits == "search" and layer not in structure.uncalled:
            add("activation", layer, ACTIVATION_BITS)
    if not parameters:
        raise UsageError("nothing of this model can be compressed: it has no layer and no channel group")
    return Space(structure, options, parameters)


def channel_grid(units: int) -> tuple[int, ...]:
    """Return the grid of kept units: eighths of the group, rounded, from at least one up to all."""
    return tuple(
        sorted({max(1, round(units * step / CHANNEL_STEPS)) for step in range(1, CHANNEL_STEPS)} | {units})
    )


def _within(bound: Mapping[str, float], kind: str, values: Sequence[Any]) -> Sequence[Any]:
    """Return the choices within a subject's bounds; always includes the dearest."""
    *others, dearest = values
    if kind == "weight" and "bits" in bound:
        others = [bits for bits in others if bits >= bound["bits"]]
    elif kind == "sparsity" and "sparsity" in bound:
        others = [share for share in others if _number(share) <= bound["sparsity"]]
    elif kind == "channels" and "keep" in bound:
        others = [units for units in others if units >= bound["keep"] * dearest]
    return (*others, dearest)


def _require_known(structure: Structure, bounds: Bounds) -> None:
    for subject, own in bounds.items():
        if subject not in structure.layers and subject not in structure.groups:
            raise UsageError(
                f"bounds name '{subject}', which is no layer and no channel group of this model: they are another "
                "model's"
            )
        if "keep" in own and subject not in structure.groups:
            raise UsageError(f"bounds keep units of '{subject}', which is no channel group of this model")
        if own.keys() & {"bits", "sparsity"} and subject not in structure.layers:
            raise UsageError(f"bounds say bits or sparsity of '{subject}', which is no layer of this model")


def _number(value: Any) -> float:
    return 0.5 if value == "2:4" else float(value)
