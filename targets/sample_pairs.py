"""Input and label of one sample, or of one batch of samples, in any of the forms that datasets give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leanfront.errors import TargetError

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Types of labels."""
LISTED = 12
"""Largest number of fields of a sample that a message lists."""


@dataclass(frozen=True)
class Keys:
    """Places of the input and the label in a sample, if the user names them.

    Args:
        inputs: key of a mapping, or position in a tuple.
        labels: the same for the label.

    Raises:
        TargetError: only one of the two is given, or one is neither text nor a whole number.
    """

    inputs: str | int | None = None
    labels: str | int | None = None

    def __post_init__(self) -> None:
        if (self.inputs is None) != (self.labels is None):
            raise TargetError(
                f"inputs_key is {self.inputs!r} and labels_key is {self.labels!r}; give both, or neither"
            )
        for name, key in (("inputs_key", self.inputs), ("labels_key", self.labels)):
            if key is not None and (isinstance(key, bool) or not isinstance(key, str | int)):
                raise TargetError(
                    f"{name} is {key!r}; give the key of a mapping or the position in a tuple, such as 'image' or 0"
                )


UNNAMED = Keys()
"""Keys of samples that are pairs, or mappings of one input and one label."""


def sample_pair(name: str, place: str, sample: Any, keys: Keys = UNNAMED) -> tuple[Any, Any]:
    """Return (input, label) of one sample.

    Args:
        name: name of the split, for messages.
        place: which sample it is, such as ``sample 3``, for messages.
        sample: a pair, a mapping, or a tuple with named `keys`.
        keys: places of the two.

    Raises:
        TargetError: the sample has no label, or several fields could be meant.
    """
    return _pair(name, place, sample, keys, batched=False)


def batch_pair(name: str, place: str, batch: Any, keys: Keys = UNNAMED) -> tuple[Any, Any]:
    """Return (inputs (n, ...), labels (n,)) of one batch. Arguments and errors as `sample_pair`."""
    return _pair(name, place, batch, keys, batched=True)


def unlabelled(name: str, found: str) -> TargetError:
    """Return the error for samples that are no pairs."""
    return TargetError(f"{name}: is unlabelled: found {found}; every sample must be a pair (input, label)")


def _pair(name: str, place: str, sample: Any, keys: Keys, *, batched: bool) -> tuple[Any, Any]:
    if keys.inputs is not None:
        return _field(name, place, sample, keys.inputs), _field(name, place, sample, keys.labels)
    if isinstance(sample, Mapping):
        return _of_mapping(name, place, sample, batched)
    if isinstance(sample, tuple | list) and len(sample) == 2 and sample[1] is not None:
        return sample[0], sample[1]
    if isinstance(sample, tuple | list) and len(sample) > 2:
        fields = _listed(dict(enumerate(sample)))
        raise unlabelled(
            name,
            f"a {type(sample).__name__} of {len(sample)} at {place} ({fields}); or say which is which with "
            "Target(inputs_key=0, labels_key=1)",
        )
    size = f" of {len(sample)}" if isinstance(sample, tuple | list) else ""
    raise unlabelled(name, f"a {type(sample).__name__}{size} at {place}")


def _field(name: str, place: str, sample: Any, key: Any) -> Any:
    try:
        found = sample[key]
    except Exception as error:
        fields = _listed(_fields(sample)) or type(sample).__name__
        raise TargetError(
            f"{name}: {place} has nothing at the key {key!r}; it has {fields}; name its fields with "
            "Target(inputs_key=..., labels_key=...)"
        ) from error
    if found is None:
        raise TargetError(
            f"{name}: {place} has None at the key {key!r}; every sample needs an input and a label"
        )
    return found


def _of_mapping(name: str, place: str, sample: Mapping[Any, Any], batched: bool) -> tuple[Any, Any]:
    """Return the only tensor and the only label of a mapping."""
    labels = [key for key, value in sample.items() if _is_label(value, batched)]
    inputs = [
        key
        for key, value in sample.items()
        if key not in labels and _dimensions(value) > (1 if batched else 0)
    ]
    if len(inputs) == 1 and len(labels) == 1:
        return sample[inputs[0]], sample[labels[0]]
    found = _listed(sample)
    if not inputs:
        raise TargetError(
            f"{name}: {place} is a mapping without a tensor: it has {found}; give the dataset a transform that makes "
            "tensors (for images torchvision.transforms.ToTensor())"
        )
    if not labels:
        raise TargetError(
            f"{name}: is unlabelled: {place} is a mapping without an integer label: it has {found}; add the class's "
            "index, or name the fields: Target(inputs_key=..., labels_key=...)"
        )
    many = f"{len(inputs)} tensors" if len(inputs) > 1 else f"{len(labels)} integers"
    raise TargetError(
        f"{name}: {place} is a mapping with {many}: it has {found}; say which are the input and the label: "
        f"Target(inputs_key={inputs[0]!r}, labels_key={labels[0]!r}) or others"
    )


def _is_label(value: Any, batched: bool) -> bool:
    if batched:
        if isinstance(value, list) and value and all(type(each) is int for each in value):
            return True
        return _dimensions(value) == 1 and _is_integer(value)
    if isinstance(value, bool):
        return False
    if isinstance(value, int | np.integer):
        return True
    return isinstance(value, Tensor | np.ndarray) and _is_integer(value) and int(np.prod(value.shape)) == 1


def _is_integer(value: Tensor | np.ndarray[Any, Any]) -> bool:
    if isinstance(value, Tensor):
        return value.dtype in INTEGERS
    return value.dtype.kind in "iu"


def _dimensions(value: Any) -> int:
    return int(value.ndim) if isinstance(value, Tensor | np.ndarray) else 0


def _fields(sample: Any) -> Mapping[Any, Any]:
    if isinstance(sample, Mapping):
        return sample
    return dict(enumerate(sample)) if isinstance(sample, tuple | list) else {}


def _listed(fields: Mapping[Any, Any]) -> str:
    """Describe the fields of a sample: ``image (float32 of shape (3, 8, 8)), label (int)``."""
    said = [f"{key} ({_kind(value)})" for key, value in list(fields.items())[:LISTED]]
    return ", ".join([*said, "..."] if len(fields) > LISTED else said)


def _kind(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return type(value).__name__
