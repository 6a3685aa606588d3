"""One measured number of one candidate: its value, where it was measured, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leanfront.errors import UsageError

COST_SPLIT = ""
"""The split of costs, which depend on the configuration alone."""

SPLITS = (COST_SPLIT, "calibration", "validation", "test", "train")
"""Where a number can have been measured."""

SEARCHED_SPLITS = ("", "validation")
"""Where a value that is searched on, or limited, is measured: costs, and metrics on the validation split."""


@dataclass(frozen=True)
class Measurement:
    """A number measured on a candidate.

    Args:
        name: what was measured (``accuracy``, ``memory_bytes``); with `split` it is unique in a candidate.
        value: the number, in `unit`; NaN where the measurement failed.
        split: the data it was measured on, one of `SPLITS`; ``""`` for costs.
        low: lower end of the 95% interval, or None where there is no sampling error.
        high: upper end of the 95% interval, or None.
        count: number of samples behind the value, or None.
        unit: unit of value, low and high; ``"1"`` for shares and plain numbers.

    Raises:
        UsageError: no name, or a split that does not exist.
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
        # NumPy and torch scalars would survive as themselves and later fail in JSON or in a database driver.
        object.__setattr__(self, "value", float(self.value))
        for end in ("low", "high"):
            if getattr(self, end) is not None:
                object.__setattr__(self, end, float(getattr(self, end)))
        if self.count is not None:
            object.__setattr__(self, "count", int(self.count))

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary. Costs have the split null; numbers that JSON cannot write become null."""
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
        """Read what `to_json` wrote; a null value becomes NaN.

        Raises:
            UsageError: not an object, no name or value, or unknown keys.
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
