"""Options of the search space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leanfront.core.compressors.configuration import ACTIVATION_RANGES, FLOAT_BITS, METHODS, WEIGHT_BITS
from leanfront.core.compressors.pruning.criteria import CRITERIA
from leanfront.errors import UsageError
from leanfront.options import Options, option

SPARSITY_MODES = ("none", "unstructured", "2:4")
ACTIVATION_MODES = ("float", "8", "search")
BOUNDS = {"bits": FLOAT_BITS, "sparsity": 1.0, "keep": 1.0}
"""Bound of a layer or channel group -> its largest value; the smallest is 0."""
Bounds = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class SpaceOptions(Options):
    """Options of the search space.

    `bounds` maps a layer to ``bits``, the lowest width, and ``sparsity``, the largest share of zeroed weights; and a
    channel group to ``keep``, the smallest share of kept units. Choices out of bounds are left out, except the most
    expensive one. `leanfront.core.audit.bounds_of` makes bounds from an audit of limits.

    Raises:
        UsageError: a value is unknown.
    """

    bits: tuple[int, ...] = option(
        (2, 3, 4, 5, 6, 8),
        "Weight bit-widths to choose from.",
        known=(*WEIGHT_BITS, FLOAT_BITS),
        fewest=1,
        longest=len(WEIGHT_BITS) + 1,
        unique=False,
        title="Weight bits",
    )
    criterion: str = option("reconstruction", "Criterion that ranks channels and weights.", known=CRITERIA)
    method: str = option(
        "sequential",
        "How kept weights are made: sequential (refit layer after layer, the best), bank (faster) or rounding "
        "(plain).",
        known=METHODS,
    )
    sparsity: str = option("none", "Pattern of zeroed weights.", known=SPARSITY_MODES)
    activation_bits: str = option("float", "Bits of activations.", known=ACTIVATION_MODES)
    activation_range: str = option(
        "percentile", "Rule that sets the range of quantised activations.", known=ACTIVATION_RANGES
    )
    seed: int = option(
        0, "Seed of every random choice; the same seed gives the same trials.", least=0, below=2**32
    )
    bounds: Bounds = option({}, "Bounds of layers and channel groups.", hidden=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bits", tuple(sorted(set(self.bits))))
        object.__setattr__(self, "bounds", _canonical(self.bounds))


def _canonical(bounds: Any) -> dict[str, dict[str, float]]:
    """Return the bounds sorted by name, without empty ones.

    Raises:
        UsageError: not a mapping of mappings, an unknown bound, or a value out of range.
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
