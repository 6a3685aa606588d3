"""Attribution by occlusion: the change of a sample's measures when a patch of its image is covered."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from leanfront.errors import UsageError

CELLS = 8
"""Number of patches along the longer side of an image, unless they would be smaller than `SMALLEST`."""
SMALLEST = 2
"""Least pixels of a patch's side."""


def patch_of(height: int, width: int) -> int:
    """Return the pixels of a patch's side for images of a size."""
    return max(SMALLEST, math.ceil(max(height, width) / CELLS))


def occlusion(measure: Callable[[Tensor], Tensor], inputs: Tensor, patch: int, fill: Tensor) -> Tensor:
    """Compute the change of measures as each patch of a grid is covered; it is negative if they fall.

    Args:
        measure: function of inputs (n, c, h, w) that returns measures (n, k); it is called once for the whole
            images and once for each patch.
        inputs: (n, c, h, w) images.
        patch: pixels of a patch's side; patches of the last row and column may be smaller.
        fill: (c,) values of the cover, on the scale of the model's inputs.

    Returns:
        (n, k, rows, columns) measures of the covered images minus those of the whole images.

    Raises:
        UsageError: inputs are no images, or the patch has no pixels.

    Source: Zeiler and Fergus, arXiv 1311.2901, section 4.2.
    """
    if inputs.dim() != 4 or fill.shape != (inputs.shape[1],) or patch < 1:
        raise UsageError(
            f"occlusion covers images (n, c, h, w) with c values by patches of 1 pixel or more, not "
            f"{tuple(inputs.shape)} with {tuple(fill.shape)} by {patch}"
        )
    whole = measure(inputs)
    rows, columns = (math.ceil(side / patch) for side in inputs.shape[2:])
    colour = fill.to(inputs)[None, :, None, None]
    cells = []
    for row in range(rows):
        for column in range(columns):
            covered = inputs.clone()
            covered[:, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] = colour
            cells.append(measure(covered) - whole)
    return torch.stack(cells, dim=-1).reshape(*whole.shape, rows, columns)
