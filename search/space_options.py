"""What a user may say about the search space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leanfront.core.compressors.configuration import FLOAT_BITS, METHODS, WEIGHT_BITS
from leanfront.core.compressors.pruning.criteria import CRITERIA
from leanfront.errors import UsageError

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
            out, the dearest stays. `leanfront.core.audit.bounds_of` makes them of an audit of limits.

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


def _one_of(value: str, known: Sequence[str], what: str) -> None:
    if value not in known:
        raise UsageError(f"unknown {what} '{value}'; choose from {', '.join(known)}")


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
