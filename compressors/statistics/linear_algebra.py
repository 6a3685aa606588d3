"""Algebra of second moments: stacks of symmetric matrices G (count, width, width)."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-3
"""Ridge on the diagonal, as a share of its mean: without it, inputs that never vary would make G singular."""


def damp(moments: Tensor) -> Tensor:
    """Return G + RIDGE mean(diag G) I, float32 (count, width, width): symmetric positive definite.

    A block without any variance gets the identity.
    """
    diagonal = moments.diagonal(dim1=-2, dim2=-1).mean(-1)
    level = torch.where(diagonal > 0, RIDGE * diagonal, torch.ones_like(diagonal))
    eye = torch.eye(moments.shape[-1], dtype=moments.dtype, device=moments.device)
    return moments + level[:, None, None] * eye


def inverse(moments: Tensor) -> Tensor:
    """Return G^-1 (count, width, width) of damped moments."""
    return torch.cholesky_inverse(torch.linalg.cholesky(moments))


def removal_losses(weight: Tensor, moments: Tensor) -> Tensor:
    """Return w^2 / [G^-1]_jj (count, rows, width), the error of removing each weight alone and refitting the others.

    Optimal brain surgeon (Hassibi & Stork 1993).
    """
    return weight.square() / inverse(moments).diagonal(dim1=1, dim2=2)[:, None]
