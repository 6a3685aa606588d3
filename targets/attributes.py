"""What is known of single samples beside their class: the subgroups that a report tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from leanfront.core.targets.split import Split
from leanfront.errors import TargetError

Attributes = dict[str, dict[str, tuple[str, ...]]]
"""Split name -> attribute name -> one value a sample, as text."""


def checked_attributes(attributes: Any, splits: Mapping[str, Split], cuts: Sequence[str]) -> Attributes:
    """Attributes as a target keeps them.

    Args:
        attributes: split name -> attribute name -> one str, int or bool a sample, in the split's order.
        splits: the target's, by name.
        cuts: what was cut from which split, for messages.

    Raises:
        TargetError: no such mappings, an unknown split, another number of values than samples, or other values.
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
    """The values at these positions, in that order."""
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
