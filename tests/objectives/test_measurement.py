from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leanfront.core.objectives import SPLITS, Measurement
from leanfront.errors import UsageError

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Measurement,
        name=st.text(min_size=1),
        value=finite,
        split=st.sampled_from(SPLITS),
        low=st.none() | finite,
        high=st.none() | finite,
        count=st.none() | st.integers(0, 10**9),
        unit=st.sampled_from(["1", "B", "nat"]),
    )
)
def test_json_round_trip(measurement: Measurement) -> None:
    text = json.dumps(measurement.to_json(), allow_nan=False)
    assert Measurement.from_json(json.loads(text)) == measurement


def test_json_shape() -> None:
    assert Measurement("memory_bytes", 41234, unit="B").to_json() == {
        "name": "memory_bytes",
        "split": None,
        "value": 41234.0,
        "low": None,
        "high": None,
        "count": None,
        "unit": "B",
    }


def test_what_json_cannot_write_becomes_null_and_reads_as_nan() -> None:
    data = Measurement("accuracy", math.nan, "test", low=-math.inf, high=math.inf).to_json()
    assert (data["value"], data["low"], data["high"]) == (None, None, None)
    assert math.isnan(Measurement.from_json(data).value)


def test_scalars_of_numpy_and_torch_become_python_numbers() -> None:
    made = Measurement("a", np.float32(0.5), low=torch.tensor(0.25), high=np.float64(1), count=np.int64(3))  # type: ignore[arg-type]
    assert [type(each) for each in (made.value, made.low, made.high, made.count)] == [
        float,
        float,
        float,
        int,
    ]


def test_equal_measurements_hash_equal() -> None:
    assert len({Measurement("a", 1), Measurement("a", 1.0)}) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "", "value": 1.0}, "needs a name"),
        ({"name": "accuracy", "value": 1.0, "split": "valid"}, "unknown split 'valid'"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Measurement(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": "accuracy"}, "lacks value"),
        ({"name": "accuracy", "value": 1.0, "colour": 2}, "unknown measurement keys: colour"),
        ([1], "not list"),
    ],
)
def test_bad_json_is_refused(data: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Measurement.from_json(data)  # type: ignore[arg-type]
