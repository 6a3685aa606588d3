"""Configurations: kept channels, sparsity and bit-widths of a compressed model, as canonical, versioned JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from leanfront.core.compressors.recovery_settings import Recovery
from leanfront.errors import ConfigurationError

VERSION = 1
FLOAT_BITS = 32
WEIGHT_BITS = (2, 3, 4, 5, 6, 7, 8, 16)
ACTIVATION_BITS = (4, 5, 6, 7, 8)
ACTIVATION_RANGES = ("minmax", "percentile", "mse", "dynamic")
METHODS = {"rounding": "rounding", "bank": "bank-1", "sequential": "sequential-1"}
"""Method of making the kept weights -> the name that configurations store, which includes its version."""
DEFAULT_CRITERION = "l1"
DEFAULT_RANGE = "percentile"
NO_RULE = "none"

Sparsity = float | str
"""A share of zeroed weights in (0, 1), unstructured, or the pattern ``"2:4"``."""


@dataclass(frozen=True)
class Configuration:
    """One point of the search space; equal configurations have equal `digest`s.

    A configuration holds only the differences from the dense model: groups and layers that are not named stay as
    they are. Settings without effect are dropped, so that two spellings of one compressed model are equal: the
    criterion if nothing is pruned, the method if no weight changes, the seed if the criterion is not random, the
    range rule if no activation is quantised. A dropped rule reads ``"none"``. Where a rule is needed, ``"none"``
    means the default, so that `dataclasses.replace` can add channels or activation bits.

    Args:
        channels: channel group -> number of kept units (only groups that are cut).
        weight_bits: layer -> bits per weight: 2..8 integer, 16 float16; float32 when absent.
        activation_bits: layer -> bits of the layer's input: 4..8; float32 when absent.
        sparsity: layer -> share of zeroed weights in (0, 1), or ``"2:4"``.
        criterion: name of the pruning criterion that ranks channels and weights.
        method: how the kept weights are made. ``rounding`` rounds them to the nearest level; ``bank`` reproduces
            the layer's dense output as well as possible under the moments of its input (`refit/bank.py`);
            ``sequential`` does the same for the inputs that the compressed model gives the layer
            (`refit/sequential.py`). Stored with the method's version.
        activation_range: how activation ranges are calibrated: minmax, percentile, mse or dynamic.
        seed: seed of random criteria.
        recovery: trainings after the compression, one `Recovery.to_json` each. Trained weights cannot be made
            again from the configuration; they are in the artifact.

    Raises:
        ConfigurationError: a value is out of range.
    """

    channels: Mapping[str, int] = field(default_factory=dict)
    weight_bits: Mapping[str, int] = field(default_factory=dict)
    activation_bits: Mapping[str, int] = field(default_factory=dict)
    sparsity: Mapping[str, Sparsity] = field(default_factory=dict)
    criterion: str = DEFAULT_CRITERION
    method: str = "rounding"
    activation_range: str = DEFAULT_RANGE
    seed: int = 0
    recovery: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        channels = {str(k): _integer(v, f"kept channels of '{k}'") for k, v in sorted(self.channels.items())}
        weights = {str(k): _integer(v, f"weight bits of '{k}'") for k, v in sorted(self.weight_bits.items())}
        activations = {
            str(k): _integer(v, f"activation bits of '{k}'") for k, v in sorted(self.activation_bits.items())
        }
        weights = {k: v for k, v in weights.items() if v != FLOAT_BITS}
        activations = {k: v for k, v in activations.items() if v != FLOAT_BITS}
        sparsity = {str(k): _sparsity(v, k) for k, v in sorted(self.sparsity.items()) if v not in (0, 0.0)}
        for group, kept in channels.items():
            if kept < 1:
                raise ConfigurationError(f"group '{group}' keeps {kept} channels; at least 1 must stay")
        _check_bits(weights, WEIGHT_BITS, "weight")
        _check_bits(activations, ACTIVATION_BITS, "activation")
        if not isinstance(self.method, str):
            raise ConfigurationError(f"method must be a name, not {self.method!r}")
        method = METHODS.get(self.method, self.method)
        if method not in METHODS.values():
            raise ConfigurationError(f"unknown method '{self.method}'; known: {', '.join(METHODS)}")
        if not isinstance(self.criterion, str):
            raise ConfigurationError(f"criterion must be a name, not {self.criterion!r}")
        criterion = DEFAULT_CRITERION if self.criterion == NO_RULE else self.criterion
        activation_range = DEFAULT_RANGE if self.activation_range == NO_RULE else self.activation_range
        if activation_range not in ACTIVATION_RANGES:
            raise ConfigurationError(
                f"unknown activation range '{self.activation_range}'; known: {', '.join(ACTIVATION_RANGES)}"
            )
        seed = _integer(self.seed, "seed")
        if isinstance(self.recovery, str | bytes | Mapping) or not isinstance(self.recovery, Sequence):
            raise ConfigurationError(f"recovery must be a list of trainings, not {self.recovery!r:.100}")
        recovery = tuple(Recovery.from_json(training).to_json() for training in self.recovery)
        pruned = bool(channels or sparsity)
        values: dict[str, Any] = {
            "channels": channels,
            "weight_bits": weights,
            "activation_bits": activations,
            "sparsity": sparsity,
            "criterion": criterion if pruned else NO_RULE,
            "method": method if pruned or weights else METHODS["rounding"],
            "activation_range": activation_range if activations else NO_RULE,
            "seed": seed if pruned and criterion == "random" else 0,
            "recovery": recovery,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def is_dense(self) -> bool:
        """Whether this configuration changes nothing."""
        return not (self.channels or self.weight_bits or self.activation_bits or self.sparsity)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, which `from_json` reads back into an equal configuration."""
        said: dict[str, Any] = {
            "version": VERSION,
            "channels": dict(self.channels),
            "weight_bits": dict(self.weight_bits),
            "activation_bits": dict(self.activation_bits),
            "sparsity": dict(self.sparsity),
            "criterion": self.criterion,
            "method": self.method,
            "activation_range": self.activation_range,
            "seed": self.seed,
        }
        # Omitted when empty, so that older digests stay the same.
        return said | ({"recovery": [dict(each) for each in self.recovery]} if self.recovery else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | str) -> Configuration:
        """Read a configuration that `to_json` wrote, as a dictionary or as JSON text.

        Raises:
            ConfigurationError: the data is not JSON, or has unknown keys, an unknown version or bad values.
        """
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except json.JSONDecodeError as error:
                raise ConfigurationError(f"a configuration must be JSON: {error}") from None
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"a configuration is a JSON object, not {type(data).__name__}")
        fields = dict(data)
        version = fields.pop("version", None)
        if version != VERSION:
            raise ConfigurationError(
                f"configuration version {version!r} is unknown; this release reads {VERSION}"
            )
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(fields) - known)
        if unknown:
            raise ConfigurationError(
                f"unknown configuration keys: {', '.join(unknown)}; known: {', '.join(sorted(known))}"
            )
        for name in ("channels", "weight_bits", "activation_bits", "sparsity"):
            if not isinstance(fields.get(name, {}), Mapping):
                raise ConfigurationError(
                    f"configuration key '{name}' must be an object, not {fields[name]!r}"
                )
        return cls(**fields)

    def canonical_text(self) -> str:
        """Return the canonical JSON text, with sorted keys and no spaces; `digest` is its hash."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `canonical_text`, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical_text().encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self.digest == other.digest

    def change(self, **changes: Any) -> Configuration:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)


def _integer(value: Any, what: str) -> int:
    # No conversion to float, which overflows.
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if not whole or isinstance(value, bool):
        raise ConfigurationError(f"{what} must be a whole number, not {value!r}")
    return int(value)


def _sparsity(value: Any, layer: str) -> Sparsity:
    if value == "2:4":
        return "2:4"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigurationError(f"sparsity of '{layer}' must lie in (0, 1) or be '2:4', not {value!r}")
    return float(value)


def _check_bits(bits: Mapping[str, int], allowed: tuple[int, ...], what: str) -> None:
    for layer, width in bits.items():
        if width not in allowed:
            raise ConfigurationError(
                f"{what} bits of '{layer}' must be one of {', '.join(map(str, allowed))}, not {width}"
            )
