"""The search space of a model: one integer parameter for each choice, ordered from cheapest to dearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import IntDistribution

from compressors import CRITERIA, Configuration, Structure
from compressors.configuration import ACTIVATION_BITS, FLOAT_BITS, METHODS, WEIGHT_BITS, Sparsity
from targets.errors import UsageError

CHANNEL_STEPS = 8
"""Kept channels lie on a grid of eighths of the group, the whole group included."""
SPARSITY_LEVELS: tuple[Sparsity, ...] = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.25, 0.0)
SPARSITY_MODES = ("none", "unstructured", "2:4")
ACTIVATION_MODES = ("float", "8", "search")


@dataclass(frozen=True)
class SpaceOptions:
    """What the user may say about the space.

    Args:
        bits: weight bit-widths to choose from.
        activation_bits: ``float`` (weights only), ``8`` (every layer's input at 8 bits) or ``search``.
        sparsity: ``none``, ``unstructured`` or ``2:4``.
        criterion: ranks channels and weights.
        method: makes the kept weights (`compressors.configuration.METHODS`).
        activation_range: rule of activation ranges.
        seed: for criteria that draw.

    Raises:
        UsageError: a value is unknown.
    """

    bits: tuple[int, ...] = (2, 3, 4, 5, 6, 8)
    activation_bits: str = "float"
    sparsity: str = "none"
    criterion: str = "reconstruction"
    method: str = "sequential"
    activation_range: str = "percentile"
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = (*WEIGHT_BITS, FLOAT_BITS)
        wrong = [bits for bits in self.bits if bits not in allowed]
        if wrong or not self.bits:
            raise UsageError(
                f"unknown weight bits: {', '.join(map(str, wrong)) or 'none given'}; "
                f"choose from {', '.join(map(str, allowed))}"
            )
        object.__setattr__(self, "bits", tuple(sorted(set(self.bits))))
        _one_of(self.activation_bits, ACTIVATION_MODES, "activation bits")
        _one_of(self.sparsity, SPARSITY_MODES, "sparsity")
        _one_of(self.criterion, tuple(CRITERIA), "criterion")
        _one_of(self.method, tuple(METHODS), "method")

    def to_json(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return {
            "bits": list(self.bits),
            "activation_bits": self.activation_bits,
            "sparsity": self.sparsity,
            "criterion": self.criterion,
            "method": self.method,
            "activation_range": self.activation_range,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SpaceOptions:
        """Read what `to_json` wrote."""
        # Searches of before there were methods rounded.
        return cls(**{"method": "rounding", **data, "bits": tuple(data["bits"])})


@dataclass(frozen=True)
class Parameter:
    """One integer choice: an index into `values`, cheapest first."""

    name: str
    kind: str
    subject: str
    values: tuple[Any, ...]

    @property
    def distribution(self) -> IntDistribution:
        """Optuna's distribution of the index: an ordinal, so that samplers know what is near."""
        return IntDistribution(0, len(self.values) - 1)


@dataclass(frozen=True)
class Space:
    """All configurations a search may try.

    Args:
        structure: the model's.
        options: the user's choices.
        parameters: by name, in the model's order.
    """

    structure: Structure
    options: SpaceOptions
    parameters: Mapping[str, Parameter]

    def configuration(self, choices: Mapping[str, int]) -> Configuration:
        """The configuration of an index per parameter.

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
        """Choices nearest to one share of channels, one width and one sparsity everywhere."""
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
        """The choices of least cost: every parameter at its cheapest value."""
        return dict.fromkeys(self.parameters, 0)

    @property
    def dearest(self) -> dict[str, int]:
        """The choices nearest to the dense model."""
        return {name: len(parameter.values) - 1 for name, parameter in self.parameters.items()}

    @property
    def size(self) -> float:
        """Number of configurations (inf beyond floating point)."""
        product = 1.0
        for parameter in self.parameters.values():
            product *= len(parameter.values)
        return product


def derive_space(structure: Structure, options: SpaceOptions) -> Space:
    """The space of a model.

    Raises:
        UsageError: nothing of the model can be changed.
    """
    parameters: dict[str, Parameter] = {}

    def add(kind: str, subject: str, values: Sequence[Any]) -> None:
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
    """Kept units: eighths of the group, rounded, at least one; always ends with all of them."""
    return tuple(
        sorted({max(1, round(units * step / CHANNEL_STEPS)) for step in range(1, CHANNEL_STEPS)} | {units})
    )


def _number(value: Any) -> float:
    return 0.5 if value == "2:4" else float(value)


def _one_of(value: str, known: Sequence[str], what: str) -> None:
    if value not in known:
        raise UsageError(f"unknown {what} '{value}'; choose from {', '.join(known)}")
