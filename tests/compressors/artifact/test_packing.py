"""Bit-packing against arithmetic on one big integer, and exact inverses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leanfront.core.compressors.artifact import packing
from leanfront.core.compressors.artifact.packing import (
    in_order,
    mask_of_index,
    mask_of_pairs,
    pack,
    pairs_of,
    signed,
    unpack,
    unsigned,
)
from leanfront.core.compressors.pruning.sparsity import mask as mask_of


def as_one_number(values: list[int], bits: int) -> bytes:
    """The same bytes from one big integer, the first value lowest."""
    total = sum(value << (bits * place) for place, value in enumerate(values))
    return total.to_bytes((len(values) * bits + 7) // 8, "little")


@given(st.integers(1, 32), st.data())
def test_bytes_are_those_of_one_big_integer(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    packed = pack(np.array(values, dtype=np.int64), bits)
    assert packed == as_one_number(values, bits)
    assert unpack(packed, bits, len(values)).tolist() == values


@given(st.integers(2, 8), st.data())
def test_signed_integers_come_back(bits: int, data: st.DataObject) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    values = data.draw(st.lists(st.integers(low, high), max_size=40))
    stored = unsigned(np.array(values, dtype=np.int8), bits)
    assert stored.tolist() == [value % 2**bits for value in values]
    back = signed(unpack(pack(stored, bits), bits, len(values)), bits)
    assert back.dtype == np.int8
    assert back.tolist() == values


@pytest.mark.parametrize("bits", [3, 8, 19])
def test_chunks_join_without_a_seam(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, 1001)
    whole = pack(values, bits)
    monkeypatch.setattr(packing, "CHUNK", 16)
    assert pack(values, bits) == whole
    assert np.array_equal(unpack(whole, bits, len(values)), values)


def test_what_no_values_give_is_refused() -> None:
    with pytest.raises(ValueError, match="5 values of 3 bits take 2 bytes, not 3"):
        unpack(bytes(3), 3, 5)
    with pytest.raises(ValueError, match="last 1 bits"):
        unpack(b"\x00\x80", 3, 5)
    assert unpack(b"\x00\x40", 3, 5).tolist() == [0, 0, 0, 0, 4]
    for bits in (0, 33):
        with pytest.raises(ValueError, match="1 to 32 bits"):
            pack(np.zeros(1, dtype=np.int64), bits)


@settings(max_examples=60)
@given(
    st.integers(1, 5), st.integers(4, 13), st.integers(1, 3), st.sampled_from([0, 1]), st.integers(0, 2**31)
)
def test_pairs_come_back(outputs: int, inputs: int, kernel: int, axis: int, seed: int) -> None:
    shape = (inputs, outputs, kernel) if axis == 0 else (outputs, inputs, kernel)
    scores = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    ordered = in_order(mask_of(scores, "2:4", 0, axis=axis), "2:4", axis)
    pairs = pairs_of(ordered)
    assert len(pairs) == inputs // 4 * kernel * outputs
    assert pairs.max() < 16
    assert torch.equal(mask_of_pairs(pairs, tuple(ordered.shape)), ordered)


def test_pairs_by_hand() -> None:
    mask = torch.tensor([[True, False, False, True, True], [False, True, True, False, True]])
    assert pairs_of(mask).tolist() == [0 + 4 * 3, 1 + 4 * 2]
    with pytest.raises(ValueError, match="must keep exactly two"):
        pairs_of(torch.tensor([[True, True, True, False]]))
    for pair in (0b0000, 0b0001):
        with pytest.raises(ValueError, match="not in order"):
            mask_of_pairs(np.array([pair]), (1, 4))


def test_an_index_comes_back() -> None:
    mask = mask_of_index(np.array([0, 3, 8]), 9)
    assert mask.nonzero().flatten().tolist() == [0, 3, 8]
    for wrong in ([3, 0], [3, 3], [3, 9]):
        with pytest.raises(ValueError, match="rising order below 9"):
            mask_of_index(np.array(wrong, dtype=np.uint32), 9)
