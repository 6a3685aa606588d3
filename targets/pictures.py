"""Labelled images in memory as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.split import Split

LEVELS = 255
READ = 256
"""Number of samples read at once."""


@dataclass(frozen=True)
class Pictures:
    """Images in memory, from which inputs are made batch by batch. They take a quarter of the memory of the inputs.

    Args:
        images: uint8 (n, c, h, w).
        labels: int64 (n,).
        pixels: normalisation of pixels to inputs.
    """

    images: Tensor
    labels: Tensor
    pixels: Pixels

    @classmethod
    def of(cls, split: Split, pixels: Pixels) -> Pictures:
        """Convert the inputs of a split back to images."""
        found = [quantised(pixels.of(inputs)) for inputs, _ in split.batches(READ)]
        return cls(torch.cat(found), split.labels, pixels)

    def __len__(self) -> int:
        return len(self.labels)

    def scaled(self) -> Tensor:
        """Return the images as float32 (n, c, h, w) in [0, 1]."""
        return self.images.float() / LEVELS

    def others(self, pixels: Tensor) -> Pictures:
        """Return other images (n, c, h, w) in [0, 1] with the same labels."""
        return replace(self, images=quantised(pixels))

    def batches(
        self, batch_size: int, device: torch.device | str | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over (inputs float32 (n, c, h, w), labels (n,)), as `Split.batches`."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            inputs = self.pixels.inputs(self.images[part].to(device).float() / LEVELS)
            yield inputs, self.labels[part].to(device)


def quantised(pixels: Tensor) -> Tensor:
    """Convert pixels in [0, 1] to uint8, rounded to the nearest of 256 levels."""
    return (pixels.clamp(0, 1) * LEVELS).round().to(torch.uint8)
