"""Attributes of samples: the subgroups that reports distinguish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from leanfront.core.targets.split import Split
from leanfront.errors import TargetError

Attributes = dict[str, dict[str, tuple[str, ...]]]
"""Split name -> attribute name -> one value per sample, as text."""


def checked_attributes(attributes: Any, splits: Mapping[str, Split], cuts: Sequence[str]) -> Attributes:
    """Check attributes and convert their values to text.

    Args:
        attributes: split name -> attribute name -> one str, int or bool per sample, in the split's order.
        splits: splits of the target by name.
        cuts: sentences about cuts between splits, for messages.

    Raises:
        TargetError: not such a mapping, an unknown split, a wrong number of values, or a value of another type.
    """
    made: Attributes = {}
    for name, columns in _mapping("attributes", attributes, "split name -> attribute name -> values").items():
        if name not in splits:
            raise TargetError(f"attributes: there is no split {name!r}; this target has {', '.join(splits)}")
        named = _mapping(f"attributes of {name}", columns, "attribute name -> one value a sample")
        made[name] = {
            str(key): _column(f"attributes: {key!r} of {name}", values, splits[name], cuts)
            for key, values in named.items()
        }
    return made


def chosen_attributes(
    columns: Mapping[str, tuple[str, ...]], indices: Sequence[int]
) -> dict[str, tuple[str, ...]]:
    """Return the values at these positions, in this order."""
    return {key: tuple(values[index] for index in indices) for key, values in columns.items()}


def _mapping(what: str, value: Any, form: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TargetError(f"{what} is a {type(value).__name__}; give a mapping {form}")
    return value


def _column(what: str, values: Any, split: Split, cuts: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, Tensor | np.ndarray):
        values = values.tolist()
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TargetError(f"{what} is {values!r}; give a list of one value a sample")
    if len(values) != len(split):
        cut = next((f" ({sentence}: give a calibration split of your own)" for sentence in cuts), "")
        raise TargetError(
            f"{what} has {len(values)} value(s), but the split has {len(split)} samples{cut}; "
            "give one value a sample, in the split's order"
        )
    for index, value in enumerate(values):
        if not isinstance(value, str | int | bool | np.integer | np.bool_):
            raise TargetError(
                f"{what}: the value of sample {index} is {value!r}; values must be str, int or bool "
                "(put numbers into bins, write what is missing as 'unknown')"
            )
    return tuple(str(value) for value in values)
