"""A measured number of a candidate, with its split and its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leanfront.errors import UsageError

COST_SPLIT = ""
"""Split of costs, which depend on the configuration alone."""

SPLITS = (COST_SPLIT, "calibration", "validation", "test", "train")
"""Names of all splits."""

SEARCHED_SPLITS = ("", "validation")
"""Splits whose values objectives and budgets use: costs, and metrics on the validation split."""


@dataclass(frozen=True)
class Measurement:
    """A number measured on a candidate.

    Args:
        name: name of the measurement (``accuracy``, ``memory_bytes``), unique in a candidate together with `split`.
        value: the number, in `unit`; NaN if the measurement failed.
        split: split it was measured on, one of `SPLITS`; ``""`` for costs.
        low: lower end of the 95% interval, or None without sampling error.
        high: upper end of the 95% interval, or None.
        count: number of samples behind the value, or None.
        unit: unit of value, low and high; ``"1"`` for shares and plain numbers.

    Raises:
        UsageError: no name, or an unknown split.
    """

    name: str
    value: float
    split: str = COST_SPLIT
    low: float | None = None
    high: float | None = None
    count: int | None = None
    unit: str = "1"

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise UsageError(f"a measurement needs a name, not {self.name!r}")
        if self.split not in SPLITS:
            raise UsageError(
                f"measurement '{self.name}' has the unknown split {self.split!r}; "
                f"known: {', '.join(SPLITS[1:])}, or '' for a cost"
            )
        # NumPy and torch scalars would otherwise fail later, in JSON or in a database driver.
        object.__setattr__(self, "value", float(self.value))
        for end in ("low", "high"):
            if getattr(self, end) is not None:
                object.__setattr__(self, end, float(getattr(self, end)))
        if self.count is not None:
            object.__setattr__(self, "count", int(self.count))

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for JSON. The split of costs, NaN and infinities become null."""
        return {
            "name": self.name,
            "split": self.split or None,
            "value": _finite(self.value),
            "low": _finite(self.low),
            "high": _finite(self.high),
            "count": self.count,
            "unit": self.unit,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Read the output of `to_json`; a null value becomes NaN.

        Raises:
            UsageError: not an object, no name or value, or an unknown key.
        """
        if not isinstance(data, Mapping):
            raise UsageError(f"a measurement is a JSON object, not {type(data).__name__}")
        fields = dict(data)
        known = cls.__dataclass_fields__
        unknown = sorted(str(key) for key in fields if key not in known)
        if unknown:
            raise UsageError(f"unknown measurement keys: {', '.join(unknown)}; known: {', '.join(known)}")
        missing = [key for key in ("name", "value") if key not in fields]
        if missing:
            raise UsageError(f"measurement {fields!r} lacks {' and '.join(missing)}")
        if fields["value"] is None:
            fields["value"] = math.nan
        fields["split"] = fields.get("split") or COST_SPLIT
        return cls(**fields)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
