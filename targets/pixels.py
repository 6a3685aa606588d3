"""Normalisation between image pixels and a target's inputs, which corruptions and attacks need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leanfront.errors import TargetError

TOLERANCE = 0.01
"""Largest distance of pixels from [0, 1], due to rounding or overshooting interpolation."""


@dataclass(frozen=True)
class Pixels:
    """Normalisation of images: inputs are (pixels - mean) / std, with pixels in [0, 1] and channels first.

    Args:
        mean: c means, one per channel.
        std: c standard deviations, all positive.

    Raises:
        TargetError: the lengths differ, or a deviation is not positive.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            value: float | Sequence[float] = getattr(self, name)
            listed = (value,) if isinstance(value, int | float) else value
            object.__setattr__(self, name, tuple(float(each) for each in listed))
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise TargetError(
                f"pixels: mean {self.mean} and std {self.std} must have one number a channel, std above 0"
            )

    @property
    def channels(self) -> int:
        """Number of channels c."""
        return len(self.mean)

    def of(self, inputs: Tensor) -> Tensor:
        """Convert inputs (..., c, h, w) to pixels, in [0, 1] up to rounding."""
        return inputs * self._column(self.std, inputs) + self._column(self.mean, inputs)

    def inputs(self, pixels: Tensor) -> Tensor:
        """Convert pixels (..., c, h, w) to inputs of the same shape."""
        return (pixels - self._column(self.mean, pixels)) / self._column(self.std, pixels)

    @staticmethod
    def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)


def check_pixels(pixels: Any, example_input: Tensor, inputs: Tensor) -> None:
    """Check that a target's `pixels` fit its inputs.

    Args:
        pixels: argument `pixels` of the target.
        example_input: (1, ...) example input.
        inputs: (n, ...) calibration inputs.

    Raises:
        TargetError: `pixels` is not a `Pixels`, the inputs are not images with its number of channels, or they do not
            map back to [0, 1]; the message gives the range.
    """
    if not isinstance(pixels, Pixels):
        raise TargetError(
            f"pixels is a {type(pixels).__name__}; give targets.Pixels(mean, std), or leave it out"
        )
    shape = tuple(example_input.shape)
    if len(shape) != 4 or shape[1] != pixels.channels or not example_input.is_floating_point():
        raise TargetError(
            f"pixels: has figures of {pixels.channels} channel(s), but example_input is {example_input.dtype} of "
            f"shape {shape}; inputs must be float images (1, {pixels.channels}, h, w)"
        )
    low, high = (float(end) for end in pixels.of(inputs).aminmax())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise TargetError(
            f"pixels: mean {pixels.mean} and std {pixels.std} map the first {len(inputs)} calibration inputs back to "
            f"[{low:.3g}, {high:.3g}], not into [0, 1]; give the figures with which the inputs were normalised "
            "(those of pixels in 0..255: divided by 255)"
        )
