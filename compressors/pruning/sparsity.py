"""Masks of zeroed weights: unstructured by share, and 2 of every 4 inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from leanfront.core.compressors.configuration import Sparsity


def mask(scores: Tensor, sparsity: Sparsity, kept: int, axis: int = 1) -> Tensor:
    """Return the mask of the weights that stay.

    Args:
        scores: scores in the weight's shape, (out, in / groups, ...), or (in, out / groups, ...) if `axis` is 0.
        sparsity: a share, or ``"2:4"``.
        kept: number of weights that stay under a share; ignored under 2:4.
        axis: the input-channel axis, along which 2:4 groups its weights.

    Returns:
        Boolean mask in the scores' shape, with exactly as many weights as the layout counts; of equal scores the
        earlier weight stays.
    """
    if sparsity == "2:4":
        return _two_of_four(scores, axis)
    flat = scores.flatten()
    keep = torch.zeros(flat.shape, dtype=torch.bool)
    keep[torch.argsort(flat, descending=True, stable=True)[:kept]] = True
    return keep.reshape(scores.shape)


def _two_of_four(scores: Tensor, axis: int) -> Tensor:
    moved = scores.movedim(axis, -1)
    whole = moved.shape[-1] // 4 * 4
    quads = moved[..., :whole].reshape(*moved.shape[:-1], whole // 4, 4)
    ranks = quads.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    keep = torch.ones(moved.shape, dtype=torch.bool)
    keep[..., :whole] = (ranks < 2).reshape(*moved.shape[:-1], whole)
    return keep.movedim(-1, axis)
