"""Content keys: equal for equal values of equal types, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leanfront.core.compressors.statistics.cache import content_key

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool)
PARTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.sampled_from([0.0, -0.0, 1.0])
    | st.text("as", max_size=3),
    lambda parts: st.lists(parts, max_size=3).map(tuple),
    max_leaves=4,
)


@settings(max_examples=400)
@given(one=st.lists(PARTS, max_size=3), other=st.lists(PARTS, max_size=3))
def test_keys_are_equal_for_equal_parts_only(one: list[Any], other: list[Any]) -> None:
    assert (content_key(*one) == content_key(*other)) == (repr(one) == repr(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("asb", "c"), ("a", "bsc")),
        (("a", "b"), (("a", "b"),)),
        ((), ((),)),
        ((("a",), "b"), (("a", "b"),)),
        (("1",), (1,)),
        ((1,), (True,)),
        ((1,), (1.0,)),
        ((0.0,), (-0.0,)),
        ((None,), ("",)),
        ((10**5000,), (10**5000 + 1,)),
        (("\ud800",), ("\ud801",)),
        ((torch.zeros(2, 3),), (torch.zeros(3, 2),)),
        ((torch.zeros(2),), (torch.zeros(2, dtype=torch.int32),)),
        ((torch.zeros(0),), (torch.zeros(0, 1),)),
        ((torch.tensor(1.0),), (torch.tensor([1.0]),)),
        ((torch.arange(4.0).reshape(2, 2),), (torch.arange(4.0).reshape(2, 2).T,)),
        ((torch.zeros(1), torch.zeros(3)), (torch.zeros(2), torch.zeros(2))),
        ((torch.tensor([1j]),), (torch.tensor([1j]).conj(),)),
    ],
)
def test_keys_tell_apart_what_is_alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert content_key(*one) == content_key(*one)
    assert content_key(*one) != content_key(*other)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex64, torch.float8_e4m3fn])
def test_a_tensors_key_is_its_values(dtype: torch.dtype) -> None:
    values = torch.arange(12).reshape(3, 4).to(dtype)
    assert content_key(values.T.contiguous().T) == content_key(values)
    assert content_key(torch.nn.Parameter(values, requires_grad=False)) == content_key(values)
    assert content_key(values) != content_key(values.flip(0))


@pytest.mark.parametrize("part", [[1], {"a": 1}, b"a", object()])
def test_other_parts_are_refused(part: Any) -> None:
    with pytest.raises(TypeError, match="a key cannot be made of"):
        content_key("a", (part,))
