"""How a target's inputs are made of an image's pixels: what corruptions and attacks need to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leanfront.errors import TargetError

TOLERANCE = 0.01
"""How far outside [0, 1] an input's pixels may lie: rounding, or an interpolation that overshoots."""


@dataclass(frozen=True)
class Pixels:
    """Inputs are (pixels - mean) / std, with pixels in [0, 1] and channels first.

    Args:
        mean: c means, one a channel.
        std: c deviations, all positive.

    Raises:
        TargetError: other lengths, or a deviation that is not positive.
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
        """c."""
        return len(self.mean)

    def of(self, inputs: Tensor) -> Tensor:
        """Inputs (..., c, h, w) -> the pixels they were made of, in [0, 1] up to rounding."""
        return inputs * self._column(self.std, inputs) + self._column(self.mean, inputs)

    def inputs(self, pixels: Tensor) -> Tensor:
        """Pixels (..., c, h, w) -> inputs of that shape."""
        return (pixels - self._column(self.mean, pixels)) / self._column(self.std, pixels)

    @staticmethod
    def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)


def check_pixels(pixels: Any, example_input: Tensor, inputs: Tensor) -> None:
    """Refuse pixels that a target's inputs are not made of.

    Args:
        pixels: what the target was given.
        example_input: (1, ...).
        inputs: (n, ...) calibration inputs.

    Raises:
        TargetError: no `Pixels`, inputs that are no images of so many channels, or images that are not in [0, 1]
            by these figures; the range found is said.
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
