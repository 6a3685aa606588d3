"""Results as plain Python that JSON can write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    """Dataclasses and mappings become dictionaries, sequences and arrays lists, NaN and infinities null.

    Args:
        value: any nesting of dataclasses, mappings, lists, tuples, arrays, tensors and scalars.

    Raises:
        TypeError: something else, which JSON could not write.
    """
    # What numpy and torch have, without importing them. First: numpy's float64 is a float too.
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
    raise TypeError(f"no JSON is known for {type(value).__name__}")
