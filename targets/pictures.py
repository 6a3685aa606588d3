"""Labelled images in memory as bytes, as an image file would hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.split import Split

LEVELS = 255
READ = 256
"""Samples read at once."""


@dataclass(frozen=True)
class Pictures:
    """Images from which a model's inputs are made batch by batch: a quarter of the memory of the inputs.

    Args:
        images: uint8 (n, c, h, w).
        labels: int64 (n,).
        pixels: how inputs are made of pixels.
    """

    images: Tensor
    labels: Tensor
    pixels: Pixels

    @classmethod
    def of(cls, split: Split, pixels: Pixels) -> Pictures:
        """The images that a split's inputs were made of."""
        found = [quantised(pixels.of(inputs)) for inputs, _ in split.batches(READ)]
        return cls(torch.cat(found), split.labels, pixels)

    def __len__(self) -> int:
        return len(self.labels)

    def scaled(self) -> Tensor:
        """float32 (n, c, h, w) in [0, 1]."""
        return self.images.float() / LEVELS

    def others(self, pixels: Tensor) -> Pictures:
        """Other images (n, c, h, w) in [0, 1] with the same labels."""
        return replace(self, images=quantised(pixels))

    def batches(
        self, batch_size: int, device: torch.device | str | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs float32 (n, c, h, w), labels (n,)), as `Split.batches`."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            inputs = self.pixels.inputs(self.images[part].to(device).float() / LEVELS)
            yield inputs, self.labels[part].to(device)


def quantised(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] -> uint8, rounded to the nearest of 256 levels."""
    return (pixels.clamp(0, 1) * LEVELS).round().to(torch.uint8)
