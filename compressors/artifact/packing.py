"""Packing of integers into bits, and of masks into bitmaps, indices or pairs; every function has an exact inverse.

Bits are little-endian throughout: the first value takes the lowest bits of the first byte, and unused bits of the
last byte are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leanfront.core.compressors.configuration import Sparsity

WIDEST = 32
CHUNK = 1 << 18
"""Number of values handled at once: a multiple of eight, as chunks end on whole bytes. Each takes up to 32 bytes."""

Integers = npt.NDArray[np.integer[Any]]


def pack(values: Integers, bits: int) -> bytes:
    """Pack unsigned integers below 2^bits into ceil(n bits / 8) bytes.

    Args:
        values: (n,).
        bits: bits per value, 1..32.
    """
    kind, wide = _kind(bits)
    chunks = []
    for start in range(0, len(values), CHUNK):
        raw = values[start : start + CHUNK].astype(kind).view(np.uint8).reshape(-1, wide // 8)
        # One row of bits per value; the lowest ones stay.
        spread = np.unpackbits(raw, axis=1, bitorder="little")[:, :bits]
        chunks.append(np.packbits(spread, bitorder="little").tobytes())
    return b"".join(chunks)


def unpack(data: bytes | memoryview, bits: int, count: int) -> Integers:
    """Return the values that `pack` packed, (count,): uint8 up to 8 bits, else uint32.

    Args:
        data: ceil(count bits / 8) bytes.
        bits: bits per value, 1..32.
        count: number of values.

    Raises:
        ValueError: the data has another length, or bits after the last value are set.
    """
    kind, wide = _kind(bits)
    length = (count * bits + 7) // 8
    if len(data) != length:
        raise ValueError(f"{count} values of {bits} bits take {length} bytes, not {len(data)}")
    left = 8 * length - count * bits
    if left and data[-1] >> (8 - left):
        raise ValueError(f"the last {left} bits behind {count} values of {bits} bits are not zero")
    raw = np.frombuffer(data, dtype=np.uint8)
    values = np.empty(count, dtype=kind)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        first = start * bits // 8
        flat = np.unpackbits(raw[first:], count=size * bits, bitorder="little")
        spread = np.zeros((size, wide), dtype=np.uint8)
        spread[:, :bits] = flat.reshape(size, bits)
        values[start : start + size] = np.packbits(spread, axis=1, bitorder="little").reshape(-1).view(kind)
    return values


def _kind(bits: int) -> tuple[np.dtype[Any], int]:
    """Return the unsigned type that holds a value, and its width in bits."""
    if not 1 <= bits <= WIDEST:
        raise ValueError(f"values have 1 to {WIDEST} bits, not {bits}")
    return (np.dtype("u1"), 8) if bits <= 8 else (np.dtype("<u4"), 32)


def unsigned(codes: Integers, bits: int) -> Integers:
    """Return the two's complement, uint8, of integers in [-2^(bits-1), 2^(bits-1) - 1], for up to 8 bits."""
    return np.asarray(codes.astype(np.int8).view(np.uint8) & ((1 << bits) - 1), dtype=np.uint8)


def signed(values: Integers, bits: int) -> Integers:
    """Return the integers, int8, from which `unsigned` made these values."""
    half = 1 << (bits - 1)
    return np.asarray((values.astype(np.int16) ^ half) - half, dtype=np.int8)


def in_order(values: Tensor, sparsity: Sparsity | None, axis: int) -> Tensor:
    """Return a view of a weight tensor with its elements in storage order.

    Under 2:4 the inputs run innermost, so that each group of four is contiguous.

    Args:
        values: tensor in the weight's shape.
        sparsity: sparsity of the layer.
        axis: axis of the inputs.
    """
    return values.movedim(axis, -1) if sparsity == "2:4" else values


def pairs_of(mask: Tensor) -> Integers:
    """Return the places of the two kept inputs of each whole group of four, as first + 4 second, (quads,).

    Args:
        mask: boolean, inputs innermost.

    Raises:
        ValueError: a group of four does not keep exactly two.
    """
    quads = _quads(mask)
    if not bool((quads.sum(-1) == 2).all()):
        raise ValueError("a group of four weights must keep exactly two")
    places = quads.nonzero()[:, 1].reshape(-1, 2)
    return np.asarray((places[:, 0] + 4 * places[:, 1]).numpy(), dtype=np.uint8)


def mask_of_pairs(pairs: Integers, shape: tuple[int, ...]) -> Tensor:
    """Return the mask that `pairs_of` was given.

    Args:
        pairs: (quads,), each in 0..15.
        shape: shape of the mask, inputs innermost.

    Raises:
        ValueError: a pair's places are not in order.
    """
    places = torch.from_numpy(pairs.astype(np.int64))
    first, second = places % 4, places // 4
    if not bool((first < second).all()):
        raise ValueError("the two places of a group of four are not in order")
    mask = torch.ones(shape, dtype=torch.bool)
    whole = shape[-1] // 4 * 4
    quads = torch.zeros(len(pairs), 4, dtype=torch.bool)
    quads.scatter_(1, torch.stack((first, second), dim=1), True)
    mask[..., :whole] = quads.reshape(*shape[:-1], whole)
    return mask


def _quads(mask: Tensor) -> Tensor:
    whole = mask.shape[-1] // 4 * 4
    return mask[..., :whole].reshape(-1, 4)


def mask_of_index(index: Integers, total: int) -> Tensor:
    """Return the flat mask, (total,), of the positions that stay.

    Raises:
        ValueError: positions are not in rising order, or are beyond the last weight.
    """
    positions = index.astype(np.int64)
    if len(positions) and (int(positions[-1]) >= total or not bool((np.diff(positions) > 0).all())):
        raise ValueError(f"positions of weights are not in rising order below {total}")
    mask = torch.zeros(total, dtype=torch.bool)
    mask[torch.from_numpy(positions)] = True
    return mask
