"""Integers of few bits as bytes, and masks as bitmaps, indices or pairs; every function has an exact inverse.

Bits are little-endian throughout: the first value takes the lowest bits of the first byte, and what is left of
the last byte is zero.
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
"""Values handled at once: a multiple of eight, so that chunks end on whole bytes. Each takes up to 32 bytes."""

Integers = npt.NDArray[np.integer[Any]]


def pack(values: Integers, bits: int) -> bytes:
    """Unsigned integers below 2^bits, bits a value, ceil(n bits / 8) bytes.

    Args:
        values: (n,).
        bits: 1..32.
    """
    kind, wide = _kind(bits)
    chunks = []
    for start in range(0, len(values), CHUNK):
        raw = values[start : start + CHUNK].astype(kind).view(np.uint8).reshape(-1, wide // 8)
        # Bits of each value in a row, of which the lowest stay.
        spread = np.unpackbits(raw, axis=1, bitorder="little")[:, :bits]
        chunks.append(np.packbits(spread, bitorder="little").tobytes())
    return b"".join(chunks)


def unpack(data: bytes | memoryview, bits: int, count: int) -> Integers:
    """What `pack` packed, (count,): uint8 up to 8 bits, else uint32.

    Args:
        data: ceil(count bits / 8) bytes.
        bits: 1..32.
        count: number of values.

    Raises:
        ValueError: the data has another length, or bits behind the last value are set.
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
    """The unsigned type that holds a value, and its width."""
    if not 1 <= bits <= WIDEST:
        raise ValueError(f"values have 1 to {WIDEST} bits, not {bits}")
    return (np.dtype("u1"), 8) if bits <= 8 else (np.dtype("<u4"), 32)


def unsigned(codes: Integers, bits: int) -> Integers:
    """Two's complement, uint8, of integers in [-2^(bits-1), 2^(bits-1) - 1] for up to 8 bits."""
    return np.asarray(codes.astype(np.int8).view(np.uint8) & ((1 << bits) - 1), dtype=np.uint8)


def signed(values: Integers, bits: int) -> Integers:
    """What `unsigned` made of them, int8."""
    half = 1 << (bits - 1)
    return np.asarray((values.astype(np.int16) ^ half) - half, dtype=np.int8)


def in_order(values: Tensor, sparsity: Sparsity | None, axis: int) -> Tensor:
    """A weight tensor with its elements in the order they are stored in: a view.

    Under 2:4 the inputs run innermost, so that four that belong together lie together.

    Args:
        values: the weight's shape.
        sparsity: the layer's.
        axis: of the inputs.
    """
    return values.movedim(axis, -1) if sparsity == "2:4" else values


def pairs_of(mask: Tensor) -> Integers:
    """Of each whole group of four inputs the places of the two that stay, first + 4 second, (quads,).

    Args:
        mask: boolean, inputs innermost.

    Raises:
        ValueError: a group of four keeps another number than two.
    """
    quads = _quads(mask)
    if not bool((quads.sum(-1) == 2).all()):
        raise ValueError("a group of four weights keeps another number than two")
    places = quads.nonzero()[:, 1].reshape(-1, 2)
    return np.asarray((places[:, 0] + 4 * places[:, 1]).numpy(), dtype=np.uint8)


def mask_of_pairs(pairs: Integers, shape: tuple[int, ...]) -> Tensor:
    """The mask that `pairs_of` was given.

    Args:
        pairs: (quads,), each in 0..15.
        shape: of the mask, inputs innermost.

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
    """The flat mask, (total,), of the positions that stay.

    Raises:
        ValueError: positions are not in rising order, or beyond the last weight.
    """
    positions = index.astype(np.int64)
    if len(positions) and (int(positions[-1]) >= total or not bool((np.diff(positions) > 0).all())):
        raise ValueError(f"positions of weights are not in rising order below {total}")
    mask = torch.zeros(total, dtype=torch.bool)
    mask[torch.from_numpy(positions)] = True
    return mask
