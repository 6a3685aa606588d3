"""The search space of a model: one integer parameter for each choice, ordered from cheapest to dearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import IntDistribution

from leanfront.core.compressors import CRITERIA, Configuration, Structure
from leanfront.core.compressors.configuration import (
    ACTIVATION_BITS,
    FLOAT_BITS,
    METHODS,
    WEIGHT_BITS,
    Sparsity,
)
from leanfront.errors import UsageError

CHANNEL_STEPS = 8
"""Kept channels lie on a grid of eighths of the group, the whole group included."""
SPARSITY_LEVELS: tuple[Sparsity, ...] = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.25, 0.0)
SPARSITY_MODES = ("none", "unstructured", "2:4")
ACTIVATION_MODES = ("float", "8", "search")
BOUNDS = {"bits": FLOAT_BITS, "sparsity": 1.0, "keep": 1.0}
"""What may be bounded of a layer or channel group -> the largest value of the bound; 0 is the smallest."""
Bounds = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class SpaceOptions:
    """What the user may say about the space.

    Args:
        bits: weight bit-widths to choose from.
        activation_bits: ``float`` (weights only), ``8`` (every layer's input at 8 bits) or ``search``.
        sparsity: ``none``, ``unstructured`` or ``2:4``.
        criterion: ranks channels and weights.
        method: makes the kept weights (`leanfront.core.compressors.configuration.METHODS`).
        activation_range: rule of activation ranges.
        seed: for criteria that draw.
        bounds: layer, or channel group, -> ``bits``, the lowest width allowed, ``sparsity``, the highest share of
            zeroed weights, and ``keep``, the lowest share of units kept (of a group): choices beyond them are left
            out, the dearest stays. `audit.bounds_of` makes them of an audit of limits.

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
    bounds: Bounds = field(default_factory=dict, hash=False)

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
        object.__setattr__(self, "bounds", _canonical(self.bounds))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        said = {
            "bits": list(self.bits),
            "activation_bits": self.activation_bits,
            "sparsity": self.sparsity,
            "criterion": self.criterion,
            "method": self.method,
            "activation_range": self.activation_range,
            "seed": self.seed,
        }
        # Absent where there are none, as in searches of before.
        return said | ({"bounds": {n: dict(own) for n, own in self.bounds.items()}} if self.bounds else {})

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
        UsageError: nothing of the model can be changed, or a bound is of nothing that the model has.
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
    """Kept units: eighths of the group, rounded, at least one; always ends with all of them."""
    return tuple(
        sorted({max(1, round(units * step / CHANNEL_STEPS)) for step in range(1, CHANNEL_STEPS)} | {units})
    )


def _within(bound: Mapping[str, float], kind: str, values: Sequence[Any]) -> Sequence[Any]:
    """The choices that a subject's bounds leave, the dearest always."""
    *others, dearest = values
    if kind == "weight" and "bits" in bound:
        others = [bits for bits in others if bits >= bound["bits"]]
    elif kind == "sparsity" and "sparsity" in bound:
        others = [share for share in others if _number(share) <= bound["sparsity"]]
    elif kind == "channels" and "keep" in bound:
        others = [units for units in others if units >= bound["keep"] * dearest]
    return (*others, dearest)


def _canonical(bounds: Any) -> dict[str, dict[str, float]]:
    """Bounds in the order of names, without those of nothing.

    Raises:
        UsageError: no mapping of mappings, an unknown bound, or one out of range.
    """
    if not isinstance(bounds, Mapping) or not all(isinstance(own, Mapping) for own in bounds.values()):
        raise UsageError(f"bounds map layers to mappings such as {{'bits': 4}}, not {bounds!r:.100}")
    found: dict[str, dict[str, float]] = {}
    for subject, own in sorted(bounds.items()):
        for what, value in own.items():
            if what not in BOUNDS:
                raise UsageError(f"unknown bound '{what}' of '{subject}'; known: {', '.join(BOUNDS)}")
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value <= BOUNDS[what]:
                raise UsageError(f"bound {what} of '{subject}' lies in 0 to {BOUNDS[what]:g}, not {value!r}")
        if own:
            found[str(subject)] = {what: own[what] for what in BOUNDS if what in own}
    return found


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


def _one_of(value: str, known: Sequence[str], what: str) -> None:
    if value not in known:
        raise UsageError(f"unknown {what} '{value}'; choose from {', '.join(known)}")
