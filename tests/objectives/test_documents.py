from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from leanfront.core.objectives.documents import plain


@dataclass(frozen=True)
class Inner:
    value: float
    many: tuple[float | None, ...]


@dataclass(frozen=True)
class Outer:
    inner: Inner
    table: dict[int, object]


def test_everything_becomes_plain() -> None:
    value = Outer(
        Inner(np.float64(0.5), (1.0, math.nan, None, -math.inf)),
        {1: np.array([1, 2], dtype=np.uint8), 2: torch.tensor([[0.25, math.nan]]), 3: np.bool_(True), 4: "x"},
    )
    found = plain(value)
    assert found == {
        "inner": {"value": 0.5, "many": [1.0, None, None, None]},
        "table": {"1": [1, 2], "2": [[0.25, None]], "3": True, "4": "x"},
    }
    assert type(found["inner"]["value"]) is float
    assert type(found["table"]["3"]) is bool
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_json_cannot_write_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot convert set to JSON"):
        plain({"a": {1, 2}})
