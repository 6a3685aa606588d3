"""Solvers of the weights that best reproduce a layer's output, from the second moments of its input alone.

All functions take a stack of independent problems: weights W (count, rows, width), moments G (count, width, width).
The error of a replacement Q is tr((W - Q) G (W - Q)^T), the mean squared error of the layer's output.

Loops over columns run in NumPy on torch's memory, where their small steps cost a third of the time. Matrix products
stay in torch: NumPy's library has threads of its own, which compete with torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leanfront.core.compressors.statistics.linear_algebra import inverse

BLOCK = 48
"""Number of columns treated before their errors are passed on to later columns."""

Array = NDArray[Any]


def restrict(moments: Tensor, kept: Tensor) -> Tensor:
    """Return G[S,S] (count, kept, kept), for kept columns (count, kept)."""
    rows = moments.gather(1, kept[:, :, None].expand(-1, -1, moments.shape[2]))
    return rows.gather(2, kept[:, None, :].expand(-1, kept.shape[1], -1))


def regress(cross: Tensor, moments: Tensor) -> Tensor:
    """Return the least-squares weights C G^-1 (count, rows, width), for C = E[y x^T] and damped G = E[x x^T]."""
    return torch.cholesky_solve(cross.transpose(1, 2), torch.linalg.cholesky(moments)).transpose(1, 2)


def refit(weight: Tensor, moments: Tensor, kept: Tensor) -> Tensor:
    """Return the least-squares weights of the kept inputs, W G[:,S] G[S,S]^-1 (count, rows, kept).

    Args:
        weight: (count, rows, width).
        moments: damped, (count, width, width).
        kept: columns that stay, (count, kept).
    """
    cross = weight @ moments.gather(2, kept[:, None, :].expand(-1, moments.shape[1], -1))
    return regress(cross, restrict(moments, kept))


def error(difference: Tensor, moments: Tensor) -> Tensor:
    """Return the mean squared output error of every row, (count, rows)."""
    return ((difference @ moments) * difference).sum(-1)


def inverse_factor(moments: Tensor) -> Tensor:
    """Return the upper Cholesky factor of G^-1 (count, width, width), which second-order loops read row by row."""
    factor: Tensor = torch.linalg.cholesky(inverse(moments), upper=True)
    return factor


def round_columns(
    weight: Tensor, factor: Tensor, scale: Tensor | None, limits: tuple[int, int], mask: Tensor | None = None
) -> Tensor:
    """Round column by column, passing each column's error on to later columns (OBQ/GPTQ, Frantar et al. 2023).

    Args:
        weight: (count, rows, width), in the order in which columns are rounded.
        factor: `inverse_factor` of the moments in that order.
        scale: step of each row, (count, rows); None to apply only the mask.
        limits: smallest and largest integer.
        mask: (count, rows, width), False where a weight is zero.

    Returns:
        Integers as floats, or weights if there is no scale; (count, rows, width).
    """
    columns, upper = _columns_first(weight), factor.numpy()
    rest = columns.numpy()
    allowed = None if mask is None else _columns_first(mask).numpy()
    step = None if scale is None else scale.numpy()
    inverse = None if step is None else 1 / step
    diagonal = np.ascontiguousarray(np.diagonal(upper, axis1=1, axis2=2))
    codes = np.empty_like(rest)
    width = rest.shape[1]
    for start in range(0, width, BLOCK):
        stop = min(start + BLOCK, width)
        errors = np.empty_like(rest[:, start:stop])
        for column in range(start, stop):
            value = rest[:, column]
            code = value.copy() if inverse is None else np.rint(value * inverse)
            if inverse is not None:
                _clip(code, limits)
            if allowed is not None:
                code *= allowed[:, column]
            codes[:, column] = code
            wrong = errors[:, column - start]
            np.subtract(value, code if step is None else code * step, out=wrong)
            wrong /= diagonal[:, column, None]
            if column + 1 < stop:
                rest[:, column + 1 : stop] -= upper[:, column, column + 1 : stop, None] * wrong[:, None]
        _pass_on(columns, factor, errors, start, stop)
    return torch.from_numpy(codes).transpose(1, 2)


def polish(codes: Tensor, weight: Tensor, moments: Tensor, scale: Tensor, limits: tuple[int, int]) -> Tensor:
    """Move each integer to its best value given all others, column after column (coordinate descent).

    The error never rises (QuantEase, Behdin et al. 2023). Zeros of a mask are not kept.

    Args:
        codes: integers as floats, (count, rows, width).
        weight, moments: W and G of the problems.
        scale: step of each row, (count, rows).
        limits: smallest and largest integer.
    """
    gram, step = moments.numpy(), scale.numpy()
    integers = _columns_first(codes)
    # Gradient of the error with respect to each weight, kept up to date: G (W - Q)^T.
    slopes = moments @ (_columns_first(weight) - integers * scale[:, None])
    now, slope = integers.numpy(), slopes.numpy()
    inverse = 1 / (np.diagonal(gram, axis1=1, axis2=2)[..., None] * step[:, None])
    width = now.shape[1]
    for start in range(0, width, BLOCK):
        stop = min(start + BLOCK, width)
        moved = np.zeros_like(now[:, start:stop])
        for column in range(start, stop):
            best = np.rint(now[:, column] + slope[:, column] * inverse[:, column])
            _clip(best, limits)
            change = moved[:, column - start]
            np.subtract(best, now[:, column], out=change)
            if not change.any():
                continue
            change *= step
            now[:, column] = best
            slope[:, start:stop] -= gram[:, start:stop, column, None] * change[:, None]
        moves = torch.from_numpy(moved)
        slopes[:, :start].baddbmm_(moments[:, :start, start:stop], moves, alpha=-1)
        slopes[:, stop:].baddbmm_(moments[:, stop:, start:stop], moves, alpha=-1)
    return integers.transpose(1, 2)


def _clip(values: Array, limits: tuple[int, int]) -> None:
    """Clip in place; on a column, np.clip takes three times as long."""
    np.maximum(values, limits[0], out=values)
    np.minimum(values, limits[1], out=values)


def sparsify_columns(weight: Tensor, factor: Tensor, kept: int) -> Tensor:
    """Choose the weights that stay by blocks of columns, passing errors on (SparseGPT, Frantar & Alistarh 2023).

    Each block removes the weights of least w^2 / d^2, with d the factor's diagonal: the error of their removal after
    later columns are refitted. A block keeps its share of the largest such losses over all columns.

    Args:
        weight: (count, rows, width), in the order of columns.
        factor: `inverse_factor` of the moments in that order.
        kept: number of weights that stay, over all problems together.

    Returns:
        Mask (count, rows, width) with exactly `kept` entries True.
    """
    quotas = _quotas(weight, factor, kept)

    def choose(values: Array, diagonal: Array, start: int) -> Array:
        flat = (np.square(values) / np.square(diagonal)[..., None]).ravel()
        keep = np.zeros(flat.shape, dtype=bool)
        keep[np.argsort(-flat, kind="stable")[: quotas[start // BLOCK]]] = True
        return keep.reshape(values.shape)

    return _sparsified(weight, factor, choose, BLOCK)


def sparsify_quads(weight: Tensor, factor: Tensor, quads: int) -> Tensor:
    """Choose two of every four consecutive columns, passing errors on.

    Args:
        weight: (count, rows, width), quads side by side.
        factor: `inverse_factor` of the moments in that order.
        quads: number of leading columns in quads; later columns stay.

    Returns:
        Mask (count, rows, width).
    """

    def choose(values: Array, diagonal: Array, start: int) -> Array:
        if start >= quads:
            return np.ones(values.shape, dtype=bool)
        losses = np.square(values) / np.square(diagonal)[..., None]
        ranks = np.argsort(np.argsort(-losses, axis=1, kind="stable"), axis=1, kind="stable")
        keep: Array = ranks < 2
        return keep

    return _sparsified(weight, factor, choose, 4)


def _sparsified(weight: Tensor, factor: Tensor, choose: Any, block: int) -> Tensor:
    columns, upper = _columns_first(weight), factor.numpy()
    rest = columns.numpy()
    diagonal = np.ascontiguousarray(np.diagonal(upper, axis1=1, axis2=2))
    width = rest.shape[1]
    masks = np.ones(rest.shape, dtype=bool)
    for start in range(0, width, block):
        stop = min(start + block, width)
        keep = choose(rest[:, start:stop], diagonal[:, start:stop], start)
        masks[:, start:stop] = keep
        errors = np.empty_like(rest[:, start:stop])
        for column in range(start, stop):
            wrong = rest[:, column] * ~keep[:, column - start] / diagonal[:, column, None]
            errors[:, column - start] = wrong
            if column + 1 < stop:
                rest[:, column + 1 : stop] -= upper[:, column, column + 1 : stop, None] * wrong[:, None]
        _pass_on(columns, factor, errors, start, stop)
    return torch.from_numpy(masks).transpose(1, 2)


def _quotas(weight: Tensor, factor: Tensor, kept: int) -> Sequence[int]:
    """Return the number of weights that each block of columns keeps: its share of the `kept` largest losses."""
    losses = weight.square() / factor.diagonal(dim1=1, dim2=2)[:, None].square()
    flat = losses.transpose(1, 2).reshape(len(weight), weight.shape[2], -1)
    chosen = torch.zeros(flat.numel(), dtype=torch.bool)
    chosen[torch.argsort(flat.flatten(), descending=True, stable=True)[:kept]] = True
    per_column = chosen.reshape(flat.shape).sum((0, 2))
    return [int(part.sum()) for part in torch.split(per_column, BLOCK)]


def _pass_on(columns: Tensor, factor: Tensor, errors: Array, start: int, stop: int) -> None:
    """Pass the errors of a block of columns on to later columns, in place."""
    upper = factor[:, start:stop, stop:].transpose(1, 2)
    columns[:, stop:].baddbmm_(upper, torch.from_numpy(errors), alpha=-1)


def _columns_first(rows: Tensor) -> Tensor:
    """Return (count, rows, width) as a contiguous copy (count, width, rows): a step then reads contiguous memory."""
    return rows.transpose(1, 2).clone(memory_format=torch.contiguous_format)
