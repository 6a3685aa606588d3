"""Attributes of samples."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leanfront.core.targets import Target
from leanfront.errors import TargetError


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=generator), torch.arange(count) % 2


def make(attributes: Any, **changes: Any) -> Target:
    given: dict[str, Any] = {
        "model": nn.Linear(5, 2),
        "example_input": torch.zeros(1, 5),
        "calibration": data(4, 1),
        "validation": data(6, 2),
        "test": data(3, 3),
    }
    torch.manual_seed(0)
    return Target(**{**given, **changes}, attributes=attributes)


def test_values_are_kept_as_text() -> None:
    target = make(
        {
            "validation": {"hair": ["grey", "red", "red", "none", "red", "grey"], "young": [True, False] * 3},
            "test": {
                "age": np.array([3, 1, 2]),
                "smiles": torch.tensor([True, False, True]),
                "group": (1, np.int64(2), "b"),
            },
        }
    )
    assert target.attributes == {
        "validation": {
            "hair": ("grey", "red", "red", "none", "red", "grey"),
            "young": ("True", "False") * 3,
        },
        "test": {"age": ("3", "1", "2"), "smiles": ("True", "False", "True"), "group": ("1", "2", "b")},
    }
    assert pickle.loads(pickle.dumps(target)).attributes == target.attributes
    assert target.referred("here").attributes == target.attributes
    assert make(None).attributes == {}
    assert make(None).fingerprint == target.fingerprint


def test_they_follow_a_recalibration() -> None:
    target = make({"calibration": {"side": ["a", "b", "c", "d"]}, "test": {"x": [1, 2, 3]}})
    other = target.recalibrated([3, 3, 0])
    assert other.attributes == {"calibration": {"side": ("d", "d", "a")}, "test": {"x": ("1", "2", "3")}}
    assert target.attributes["calibration"]["side"] == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ([1], "attributes is a list; give a mapping split name"),
        ({"train": {}}, "there is no split 'train'; this target has calibration, validation, test"),
        ({"test": [1, 2, 3]}, "attributes of test is a list; give a mapping attribute name"),
        ({"test": {"x": "abc"}}, "attributes: 'x' of test is 'abc'; give a list"),
        ({"test": {"x": {1, 2, 3}}}, "give a list of one value a sample"),
        (
            {"test": {"x": [1, 2]}},
            r"'x' of test has 2 value\(s\), but the split has 3 samples; give one value",
        ),
        (
            {"test": {"x": [1, 2.5, 3]}},
            "'x' of test: the value of sample 1 is 2.5; values must be str, int or bool",
        ),
        ({"test": {"x": ["a", None, "b"]}}, "the value of sample 1 is None.*missing as 'unknown'"),
    ],
)
def test_bad_attributes(attributes: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        make(attributes)


def test_a_split_that_was_cut_is_named() -> None:
    with pytest.raises(TargetError, match=r"has 6 value.* has 5 samples \(calibration: 1 .* of your own\)"):
        make({"validation": {"x": range(6)}}, calibration=None)
