"""Conversion of results to plain Python values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    """Convert a value for JSON: dataclasses to dictionaries, arrays and tuples to lists, NaN and infinities to None.

    Args:
        value: any nesting of dataclasses, mappings, lists, tuples, arrays, tensors and scalars.

    Raises:
        TypeError: the value contains another type.
    """
    # Detects numpy and torch values without importing either. First, since numpy's float64 is a float too.
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    raise TypeError(f"cannot convert {type(value).__name__} to JSON")
