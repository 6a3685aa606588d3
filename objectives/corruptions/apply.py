"""Application of a corruption to a batch of images."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from leanfront.core.objectives.corruptions.corruption import SEVERITIES, Corruption, Images
from leanfront.core.objectives.corruptions.registry import CORRUPTIONS
from leanfront.errors import UsageError

SMALLEST = 4
"""Minimum height and width in pixels."""
TOLERANCE = 1e-3
"""Largest distance of pixels from [0, 1] that counts as rounding; such pixels are clipped."""
CHUNK_VALUES = 2**22
"""Number of pixel values processed at once. It limits memory and does not affect results."""


def corrupt(name: str, pixels: Tensor, severity: int, seeds: Sequence[int]) -> Tensor:
    """Return corrupted copies of images, rounded to the 256 levels of an image file.

    The result of a sample depends only on its pixels, its seed, the name and the severity, and not on its batch or on
    earlier calls. It is the same on every machine, except for differences of Pillow's JPEG library.

    Args:
        name: a name in `CORRUPTIONS`.
        pixels: (n, c, h, w) in [0, 1]; c is 1 or 3, h and w at least `SMALLEST`.
        severity: 1 to 5.
        seeds: n non-negative integers, one per sample.

    Returns:
        float32 (n, c, h, w) in [0, 1], multiples of 1/255, on the CPU.

    Raises:
        UsageError: an unknown name or severity, pixels of another shape or range, or a wrong number of seeds.
    """
    corruption = _lookup(name)
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise UsageError(f"severity of {name} is {severity!r}; it must be one of 1 to {SEVERITIES[-1]}")
    images = _images(name, pixels)
    numbers = _seeds(name, seeds, len(images))
    generators = [_generator(seed, name, int(severity)) for seed in numbers]
    parameters = corruption.parameters(int(severity), *images.shape[2:])
    made = np.empty_like(images)
    size = max(1, CHUNK_VALUES // max(1, int(np.prod(images.shape[1:]))))
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        worked = np.clip(corruption.apply(images[part], parameters, generators[part]), 0, 1)
        made[part] = np.rint(worked * 255) / 255
    return torch.from_numpy(made)


def _generator(seed: int, name: str, severity: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode()), severity]))


def _lookup(name: str) -> Corruption:
    if name not in CORRUPTIONS:
        raise UsageError(f"unknown corruption '{name}'; known: {', '.join(CORRUPTIONS)}")
    return CORRUPTIONS[name]


def _images(name: str, pixels: Tensor) -> Images:
    shape = tuple(pixels.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or min(shape[2:]) < SMALLEST:
        raise UsageError(
            f"{name} needs pixels of shape (n, c, h, w) with c = 1 or 3 and h, w of at least {SMALLEST}, "
            f"not {shape}"
        )
    images = np.asarray(pixels.detach().cpu(), dtype=np.float32)
    # Written so that NaN is rejected too.
    if images.size and not (images.min() >= -TOLERANCE and images.max() <= 1 + TOLERANCE):
        raise UsageError(
            f"{name} needs pixels in [0, 1]; they lie in [{images.min():.4g}, {images.max():.4g}]. Pass "
            "image pixels (see Pixels.of), not normalised inputs"
        )
    return np.clip(images, 0, 1)


def _seeds(name: str, seeds: Sequence[int], count: int) -> list[int]:
    numbers = [int(seed) for seed in seeds]
    if len(numbers) != count:
        raise UsageError(f"{name} has {len(numbers)} seeds for {count} samples; give one per sample")
    if numbers and min(numbers) < 0:
        raise UsageError(f"{name} has the seed {min(numbers)}; seeds are whole numbers from 0")
    return numbers
