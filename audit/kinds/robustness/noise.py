"""Seeded noise for each sample, independent of its batch, its neighbours and the device."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


def gaussian(shape: Sequence[int], seeds: Sequence[int], purpose: str, draw: int = 0) -> Tensor:
    """Draw standard normal noise.

    Args:
        shape: shape of one sample.
        seeds: seed of each sample, not negative.
        purpose: name of the use; different names give different noise.
        draw: number of the draw.

    Returns:
        (len(seeds), *shape) float32 on the CPU.
    """
    return _drawn(lambda rng: rng.standard_normal(shape, dtype=np.float32), shape, seeds, purpose, draw)


def uniform(shape: Sequence[int], seeds: Sequence[int], purpose: str, draw: int = 0) -> Tensor:
    """Draw noise uniform on [0, 1); see `gaussian`."""
    return _drawn(lambda rng: rng.random(shape, dtype=np.float32), shape, seeds, purpose, draw)


def _drawn(
    one: Callable[[np.random.Generator], np.ndarray],
    shape: Sequence[int],
    seeds: Sequence[int],
    purpose: str,
    draw: int,
) -> Tensor:
    found = np.empty((len(seeds), *shape), dtype=np.float32)
    key = zlib.crc32(purpose.encode())
    for place, seed in enumerate(seeds):
        found[place] = one(np.random.default_rng([seed, key, draw]))
    return torch.from_numpy(found)
