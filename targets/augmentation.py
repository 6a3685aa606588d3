"""Random augmentations of training images, drawn from torch's global generator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class CropAndFlip:
    """Random shift of each image by up to `padding` pixels in both directions, and horizontal flip of half of them.

    Images are padded by reflection. Can be pickled.

    Args:
        padding: largest shift in pixels, less than the height and width of the image.
    """

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def __repr__(self) -> str:
        return f"CropAndFlip({self.padding})"

    def __call__(self, images: Tensor) -> Tensor:
        """Augment images (n, c, h, w)."""
        count, _, height, width = images.shape
        mirrored = torch.rand(count, device=images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        padded = functional.pad(images, (self.padding,) * 4, mode="reflect")
        return shifted(padded, height, width)


def shifted(padded: Tensor, height: int, width: int) -> Tensor:
    """Crop a window at a random place from each image.

    Args:
        padded: (n, c, H, W).
        height, width: size of the windows, at most H and W.

    Returns:
        (n, c, height, width).
    """
    count, _, tall, wide = padded.shape
    rows = torch.randint(0, tall - height + 1, (count,), device=padded.device)
    columns = torch.randint(0, wide - width + 1, (count,), device=padded.device)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(count, device=padded.device), :, rows, columns]
