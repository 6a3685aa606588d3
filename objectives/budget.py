"""Budgets: upper and lower limits on measurements, and the parsing of sizes and counts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, SupportsFloat

from leanfront.core.cost_models.registry import COST_MODELS
from leanfront.core.objectives.budget_options import BudgetOptions, Quantity
from leanfront.core.objectives.metrics import METRICS
from leanfront.core.objectives.objective import known_objectives, measurement_name
from leanfront.errors import UsageError
from leanfront.options import takes

TINY = 1e-12
"""Smallest divisor in a normalised violation, for limits at or near 0."""

SIZE_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
COUNT_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
SIZE_FORMS = "64KB, 1.5MB or 2GB (powers of 1000), 64KiB, 1.5MiB or 2GiB (powers of 1024), or 64000 (bytes)"
COUNT_FORMS = "20M, 500K, 1.5G or 2T (powers of 1000), or 20000000"

_QUANTITY = re.compile(r"\s*((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z]*)\s*", re.IGNORECASE | re.ASCII)


def parse_size(size: Quantity) -> int:
    """Parse a size in bytes, rounded down to a whole byte.

    Args:
        size: a number of bytes, or text such as ``"64KB"`` (64,000), ``"64 KiB"`` (65,536), ``"1.5mb"``;
            case does not matter.

    Raises:
        UsageError: negative, not a number, not finite, or an unknown unit.
    """
    return int(_parse(size, SIZE_UNITS, "size", SIZE_FORMS))


def parse_count(count: Quantity) -> float:
    """Parse a count such as ``"20M"`` (20,000,000); case does not matter.

    Raises:
        UsageError: negative, not a number, not finite, or an unknown unit.
    """
    return float(_parse(count, COUNT_UNITS, "count", COUNT_FORMS))


def _parse(value: Quantity, units: Mapping[str, int], what: str, forms: str) -> Decimal:
    refusal = UsageError(f"{what} {value!r} cannot be read; write it like {forms}")
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        if match is None or match[2].lower() not in units:
            raise refusal
        text, factor = match[1], units[match[2].lower()]
    elif not isinstance(value, bool) and isinstance(value, SupportsFloat):
        text, factor = repr(value if isinstance(value, int) else float(value)), 1
    else:
        raise refusal
    rough = _float(text)
    if not 0 <= rough * factor < math.inf:
        raise refusal
    # Decimal, since 1.001 * 1000 is less than 1001 in binary. Numbers that underflow a float are 0, since Decimal
    # rejects extreme exponents, which a user could type.
    return Decimal(text) * factor if rough else Decimal(0)


def _float(value: Any) -> float:
    """Convert to float; NaN if this is not possible."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


@dataclass(frozen=True)
class Budget:
    """Limits on measurements. An empty budget always holds.

    Args:
        maximum: measurement name or alias -> largest value allowed (inclusive), in the measurement's unit.
        minimum: measurement name or alias -> smallest value allowed (inclusive).

    Any measurement can be limited, objective or not. Aliases are replaced by names (``memory`` by
    ``memory_bytes``). `Budget.of` parses user input and rejects names that nothing measures.

    Raises:
        UsageError: a limit is not a finite number or is given twice, or a minimum is above its maximum.
    """

    maximum: Mapping[str, float] = field(default_factory=dict)
    minimum: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for side in ("maximum", "minimum"):
            limits: dict[str, float] = {}
            for name, limit in sorted(getattr(self, side).items()):
                _add(limits, side, name, limit)
            object.__setattr__(self, side, limits)
        for name in self.maximum.keys() & self.minimum.keys():
            if self.minimum[name] > self.maximum[name]:
                raise UsageError(
                    f"{name} cannot be at least {self.minimum[name]:g} and at most {self.maximum[name]:g}"
                )

    @classmethod
    @takes(BudgetOptions)
    def of(cls, *, measured: Iterable[str] = (), **options: Any) -> Budget:
        """Create a budget from user input.

        Text is parsed as a size if a measurement is in bytes, as a count if it is another cost, and otherwise as a
        plain number.

        Args:
            measured: names of measurements that may be limited although they are in no registry.
            options: see `leanfront.core.objectives.budget_options.BudgetOptions`.

        Raises:
            UsageError: a name is unknown, a limit is given twice, or a value is negative, cannot be parsed, or is a
                share outside [0, 1].
        """
        asked = BudgetOptions.read(options)
        named = {
            "maximum": {"memory_bytes": asked.max_memory, "macs": asked.max_macs},
            "minimum": {"accuracy": asked.min_accuracy},
        }
        given = {"maximum": asked.maximum or {}, "minimum": asked.minimum or {}}
        sides: dict[str, dict[str, float]] = {"maximum": {}, "minimum": {}}
        extra = set(measured)
        for side, limits in sides.items():
            for name, value in (*named[side].items(), *given[side].items()):
                if value is not None:
                    _add(limits, side, name, _limit(name, value, extra))
        return cls(**sides)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the limited measurements, sorted."""
        return tuple(sorted(self.maximum.keys() | self.minimum.keys()))

    def holds(self, values: Mapping[str, float | None]) -> bool:
        """Whether every limit holds. Missing and NaN measurements break their limits.

        Args:
            values: measurement name -> value in its unit.
        """
        return not self.violations(values)

    def violations(self, values: Mapping[str, float | None]) -> dict[str, float]:
        """Compute the excess over each broken limit, in the measurement's unit.

        Args:
            values: measurement name -> value in its unit.

        Returns:
            Measurement name -> excess > 0, for broken limits only; infinite if the value is missing or NaN.
        """
        return {name: excess for name, (excess, _) in self._broken(values).items()}

    def normalised_violations(self, values: Mapping[str, float | None]) -> dict[str, float]:
        """Return `violations` divided by max(|limit|, `TINY`), comparable between units."""
        return {
            name: excess / max(abs(limit), TINY) for name, (excess, limit) in self._broken(values).items()
        }

    def normalised_violation(self, values: Mapping[str, float | None]) -> float:
        """Return the sum of `normalised_violations`: 0 if the budget holds, infinite if a value is missing."""
        return sum(self.normalised_violations(values).values())

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return ``{"maximum": {name: limit}, "minimum": {name: limit}}``."""
        return {"maximum": dict(self.maximum), "minimum": dict(self.minimum)}

    def __str__(self) -> str:
        upper = [f"{name} <= {limit:.12g}" for name, limit in self.maximum.items()]
        lower = [f"{name} >= {limit:.12g}" for name, limit in self.minimum.items()]
        return " and ".join(upper + lower) or "no limits"

    def __hash__(self) -> int:
        return hash((tuple(self.maximum.items()), tuple(self.minimum.items())))

    def _broken(self, values: Mapping[str, float | None]) -> dict[str, tuple[float, float]]:
        # A value can break only one of its two limits, so one entry per name is enough.
        broken: dict[str, tuple[float, float]] = {}
        for limits, sign in ((self.maximum, 1.0), (self.minimum, -1.0)):
            for name, limit in limits.items():
                value = values.get(name)
                excess = math.inf if value is None or math.isnan(value) else sign * (value - limit)
                if excess > 0:
                    broken.setdefault(name, (excess, limit))
        return broken


def _add(limits: dict[str, float], side: str, name: str, limit: Any) -> None:
    """Add a limit under the name of its measurement; raise if there is one already."""
    number = math.nan if isinstance(limit, str) else _float(limit)
    if not math.isfinite(number):
        raise UsageError(f"the {side} of {name} must be a finite number, not {limit!r}")
    canonical = measurement_name(name)
    if canonical in limits:
        raise UsageError(f"the {side} of {canonical} is given twice; give it once")
    limits[canonical] = number


def _limit(name: str, value: Quantity, measured: set[str]) -> float:
    """Parse a limit according to the kind of its measurement."""
    canonical = measurement_name(name)
    cost = canonical in COST_MODELS
    measured = measured.union(*(model.measured for model in COST_MODELS.values()))
    if not cost and canonical not in METRICS and canonical not in measured:
        known = ", ".join((*known_objectives(), *sorted(measured)))
        raise UsageError(f"cannot limit {name!r}: nothing measures it; known: {known}")
    if cost:
        size = canonical.endswith("_bytes")
        units, forms = (SIZE_UNITS, SIZE_FORMS) if size else (COUNT_UNITS, COUNT_FORMS)
        return float(_parse(value, units, f"the limit of {canonical}", forms))
    number = _float(value)
    if not math.isfinite(number):
        raise UsageError(f"the limit of {canonical} {value!r} cannot be read; write it like 0.9")
    if canonical.endswith("accuracy") and not 0 <= number <= 1:
        raise UsageError(f"the limit of {canonical} {value!r} is not in [0, 1]; write 90% as 0.9")
    return number
