"""Attribution by occlusion: what a measure of a sample loses when a patch of its image is covered."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from leanfront.errors import UsageError

CELLS = 8
"""Patches along an image's longer side, where patches are not smaller than `SMALLEST` for that."""
SMALLEST = 2
"""Pixels of a patch's side at least."""


def patch_of(height: int, width: int) -> int:
    """Pixels of a patch's side for images of this size."""
    return max(SMALLEST, math.ceil(max(height, width) / CELLS))


def occlusion(measure: Callable[[Tensor], Tensor], inputs: Tensor, patch: int, fill: Tensor) -> Tensor:
    """How measures change as each patch of a grid is covered: negative where they fall.

    Args:
        measure: inputs (m, c, h, w) -> (m, k) measures, of samples that come one after another: all of the first
            patch, then all of the second. It is called with n samples at a time.
        inputs: (n, c, h, w).
        patch: pixels of a patch's side; the last row and column have what is left.
        fill: (c,) what covers, in the model's inputs.

    Returns:
        (n, k, rows, columns): measure of the covered image minus that of the whole one.

    Raises:
        UsageError: inputs that are no images, or a patch of no pixels.

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
