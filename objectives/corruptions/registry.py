"""What a corruption is, the registry, and `corrupt`, which applies one to a batch of images."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leanfront.errors import UsageError

SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 64
"""Images whose shorter side is below this many pixels take the parameters of CIFAR-10-C, others ImageNet-C's."""
SMALLEST = 4
"""Pixels that height and width must have."""
TOLERANCE = 1e-3
"""How far pixels may lie outside [0, 1] by rounding; they are clipped."""
CHUNK_VALUES = 2**22
"""Pixel values that are worked on at once: it bounds the memory, and no result depends on it."""

Images = NDArray[np.float32]
Generators = Sequence[np.random.Generator]
Apply = Callable[[Images, Any, Generators], NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Corruption:
    """A way to damage images, in five severities.

    Args:
        name: what a user types; it enters the seeds.
        family: ``noise``, ``blur``, ``weather`` or ``digital``.
        small: five parameter sets, mildest first, for images of less than `SMALL` pixels.
        large: five for larger ones.
        apply: (images float32 (n, c, h, w) in [0, 1], one parameter set, n generators) -> images of that shape;
            what leaves [0, 1] is clipped afterwards. It may not write to the images, and image i may depend on
            nothing but images[i] and generators[i].
        source: where the definition comes from and what differs from it, one line.
    """

    name: str
    family: str
    small: tuple[Any, ...]
    large: tuple[Any, ...]
    apply: Apply
    source: str

    def parameters(self, severity: int, height: int, width: int) -> Any:
        """The parameter set for this severity (1 to 5) and size in pixels."""
        return (self.small if min(height, width) < SMALL else self.large)[severity - 1]


CORRUPTIONS: dict[str, Corruption] = {}
"""Corruptions by name."""


def register(corruption: Corruption) -> Corruption:
    """Add a corruption to the registry; its name must be free, its severities five."""
    if corruption.name in CORRUPTIONS:
        raise ValueError(f"corruption '{corruption.name}' is registered already")
    if len(corruption.small) != len(SEVERITIES) or len(corruption.large) != len(SEVERITIES):
        raise ValueError(f"corruption '{corruption.name}' must have {len(SEVERITIES)} parameter sets a size")
    CORRUPTIONS[corruption.name] = corruption
    return corruption


def corrupt(name: str, pixels: Tensor, severity: int, seeds: Sequence[int]) -> Tensor:
    """Corrupted copies of images, rounded to the 256 levels that an image file has.

    A sample's result depends on its pixels, its seed, the name and the severity alone: not on its batch, nor on
    what was drawn before. It is the same on every machine, as far as
    Pillow's JPEG library is.

    Args:
        name: one of `CORRUPTIONS`.
        pixels: (n, c, h, w) in [0, 1]; c is 1 or 3, h and w at least `SMALLEST`.
        severity: 1 to 5.
        seeds: n whole numbers from 0, one a sample.

    Returns:
        float32 (n, c, h, w) in [0, 1], multiples of 1/255, on the CPU.

    Raises:
        UsageError: an unknown name, a severity that is none, pixels of another shape or range, seeds that do
            not pair up with them.
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
    # Put so that NaN is refused too.
    if images.size and not (images.min() >= -TOLERANCE and images.max() <= 1 + TOLERANCE):
        raise UsageError(
            f"{name} needs pixels in [0, 1]; they lie in [{images.min():.4g}, {images.max():.4g}]. Give the "
            "pixels that inputs were made of (Pixels.of), not the inputs"
        )
    return np.clip(images, 0, 1)


def _seeds(name: str, seeds: Sequence[int], count: int) -> list[int]:
    numbers = [int(seed) for seed in seeds]
    if len(numbers) != count:
        raise UsageError(f"{name} has {len(numbers)} seeds for {count} samples; give one a sample")
    if numbers and min(numbers) < 0:
        raise UsageError(f"{name} has the seed {min(numbers)}; seeds are whole numbers from 0")
    return numbers
