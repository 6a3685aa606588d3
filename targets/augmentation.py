"""Random changes to training images that keep what they show, drawn from torch's global generator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class CropAndFlip:
    """Each image moved by up to so many pixels in both directions, and half of them mirrored.

    What moves in is the image's own edge, reflected. Can be pickled.

    Args:
        padding: pixels; less than the image is high and wide.
    """

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def __repr__(self) -> str:
        return f"CropAndFlip({self.padding})"

    def __call__(self, images: Tensor) -> Tensor:
        """(n, c, h, w) -> the same shape."""
        count, _, height, width = images.shape
        mirrored = torch.rand(count, device=images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        padded = functional.pad(images, (self.padding,) * 4, mode="reflect")
        return shifted(padded, height, width)


def shifted(padded: Tensor, height: int, width: int) -> Tensor:
    """A window of each image at a place of its own, drawn at random.

    Args:
        padded: (n, c, H, W).
        height, width: of the windows, at most H and W.

    Returns:
        (n, c, height, width).
    """
    count, _, tall, wide = padded.shape
    rows = torch.randint(0, tall - height + 1, (count,), device=padded.device)
    columns = torch.randint(0, wide - width + 1, (count,), device=padded.device)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(count, device=padded.device), :, rows, columns]
