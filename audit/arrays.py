"""Arrays as entries of a JSON document, with shape, type and the bytes in base64."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leanfront.errors import UsageError

DTYPES = ("uint8", "int16", "int32", "float16", "float32")
"""Types of entries; all are little-endian, row by row."""
INTEGERS = ("uint8", "int16", "int32")


def packed(values: ArrayLike, dtype: str | None = None) -> dict[str, Any]:
    """Pack an array as ``{"shape": [...], "dtype": "float16", "data": base64}``.

    Args:
        values: bools, integers or floats; NaN and infinities are kept.
        dtype: one of `DTYPES`. By default the smallest integer type that holds the integers, float16 for floats,
            or float32 if float16 would overflow.

    Raises:
        UsageError: the type is unknown, or cannot hold the values.
    """
    array = np.asarray(values)
    kind = dtype or _smallest(array)
    if kind not in DTYPES:
        raise UsageError(f"unknown type of array '{kind}'; known: {', '.join(DTYPES)}")
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.ascontiguousarray(array, dtype=np.dtype(kind).newbyteorder("<"))
        lost = made != array if kind in INTEGERS else np.isinf(made) & ~np.isinf(array)
    if lost.any():
        raise UsageError(f"an array of {array.dtype} from {array.min()} to {array.max()} does not fit {kind}")
    return {
        "shape": list(array.shape),
        "dtype": kind,
        "data": base64.b64encode(made.tobytes()).decode("ascii"),
    }


def unpacked(entry: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array of an entry that `packed` made.

    Raises:
        UsageError: the type is unknown, the shape is not a shape, or the data have another size.
    """
    shape, kind, data = (entry.get(key) for key in ("shape", "dtype", "data"))
    if kind not in DTYPES:
        raise UsageError(f"unknown type of array {kind!r}; known: {', '.join(DTYPES)}")
    if not isinstance(shape, list | tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise UsageError(f"the shape of an array is a list of whole numbers, not {shape!r:.100}")
    try:
        content = base64.b64decode(data, validate=True)  # type: ignore[arg-type]
    except (TypeError, ValueError, binascii.Error):
        raise UsageError("the data of an array are not base64") from None
    stored = np.dtype(kind).newbyteorder("<")
    if len(content) != math.prod(shape) * stored.itemsize:
        raise UsageError(f"an array {list(shape)} of {kind} cannot have {len(content)} bytes")
    return np.frombuffer(content, dtype=stored).reshape(shape).astype(kind)


def _smallest(array: NDArray[Any]) -> str:
    if array.dtype == np.bool_:
        return "uint8"
    if np.issubdtype(array.dtype, np.integer):
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        for kind in INTEGERS:
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return kind
        return INTEGERS[-1]
    finite = np.abs(array[np.isfinite(array)]) if np.issubdtype(array.dtype, np.floating) else array[:0]
    return "float16" if not finite.size or finite.max() < np.finfo(np.float16).max else "float32"
