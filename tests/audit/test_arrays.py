"""Arrays come back as they went in."""

from __future__ import annotations

import json

import numpy as np
import pytest

from leanfront.core.audit.arrays import packed, unpacked
from leanfront.errors import UsageError


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[0, 255]], "uint8"),
        ([-1, 255], "int16"),
        ([0, 40_000], "int32"),
        ([True, False], "uint8"),
        ([0.5, -2.25, float("nan"), float("inf")], "float16"),
        ([70_000.0, 1.0], "float32"),
        (np.zeros((0, 3)), "float16"),
        (np.float64(1.5), "float16"),
    ],
)
def test_what_is_packed_comes_back_by_way_of_json(values: object, kind: str) -> None:
    entry = json.loads(json.dumps(packed(values), allow_nan=False))  # type: ignore[arg-type]
    found = unpacked(entry)
    assert entry["dtype"] == kind
    assert found.dtype == np.dtype(kind)
    assert found.shape == np.shape(values)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, np.asarray(values, dtype=kind))


def test_order_in_memory_does_not_matter() -> None:
    table = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(unpacked(packed(table.T)), table.T)
    assert unpacked(packed(table)).flags.writeable


def test_floats_are_rounded_to_half_precision_at_most() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    np.testing.assert_allclose(unpacked(packed(values)), values, rtol=2**-11, atol=1e-7)
    np.testing.assert_allclose(unpacked(packed(values, "float32")), values, rtol=2**-24)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([300], "uint8"), ([1.5], "int16"), ([7e4], "float16"), ([1], "int64"), ([2**40], None)],
)
def test_values_that_do_not_fit_are_refused(values: list[float], dtype: str | None) -> None:
    with pytest.raises(UsageError):
        packed(values, dtype)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float64"},
        {"dtype": None},
        {"shape": [3]},
        {"shape": [-1, -2]},
        {"shape": "2"},
        {"data": "??"},
        {"data": 3},
    ],
)
def test_what_is_no_entry_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        unpacked({**packed([1.0, 2.0]), **change})
