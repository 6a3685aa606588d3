"""One layer's compressed weights: sparsified and rounded under the moments of its input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from leanfront.core.compressors.configuration import Sparsity
from leanfront.core.compressors.pruning.sparsity import mask as mask_of
from leanfront.core.compressors.quantisation.quantisers import (
    SMALLEST_CLIP,
    float16_scale,
    levels,
    quantise_weight,
)
from leanfront.core.compressors.refit import solvers
from leanfront.core.compressors.statistics import linear_algebra

CLIPPING_STEPS = 12
ROUNDS = 2
"""Number of times that integers are rounded for the scale that fits the previous ones best."""
POLISHES = 2
"""Number of passes of coordinate descent after that."""


@dataclass(frozen=True)
class Solution:
    """Solution for a run of inputs.

    Args:
        weight: (groups, rows, width) float32, as the compressed layer computes with it.
        codes: integers as floats, the same shape; None above 8 bits.
        scale: (groups, rows), float16 values; None above 8 bits.
        mask: (groups, rows, width), which weights are stored; None when all are.
    """

    weight: Tensor
    codes: Tensor | None = None
    scale: Tensor | None = None
    mask: Tensor | None = None

    def taken(
        self, *, groups: Sequence[int] | None = None, rows: Sequence[Sequence[int]] | None = None
    ) -> Solution:
        """Return the solution of some groups, or of some rows of every group."""

        def part(values: Tensor | None) -> Tensor | None:
            if values is None:
                return None
            if groups is not None:
                values = values[list(groups)]
            return values if rows is None else take_rows(values, rows)

        weight = part(self.weight)
        assert weight is not None
        return Solution(weight, part(self.codes), part(self.scale), part(self.mask))


def take_rows(values: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return some rows of each group, (groups, kept, ...)."""
    return torch.stack([group[list(places)] for group, places in zip(values, rows, strict=True)])


def solve(
    weight: Tensor,
    moments: Tensor,
    *,
    bits: int | None = None,
    sparsity: Sparsity | None = None,
    kept: int = 0,
    kernel: int = 1,
    scale: Tensor | None = None,
    mask: Tensor | None = None,
) -> Solution:
    """Return the sparse, low-bit weights that best reproduce the outputs of given weights.

    Args:
        weight: the weights to reproduce, (groups, rows, width) float32 on the CPU.
        moments: damped moments of the inputs, (groups, width, width).
        bits: 2..8 integer, 16 float16, None float32.
        sparsity: a share or ``"2:4"``.
        kept: number of weights that stay under a share.
        kernel: weights per channel pair; 2:4 groups channels at one kernel position.
        scale: scale of each row, (groups, rows), if it is fixed.
        mask: the weights that stay, (groups, rows, width), if they are fixed.
    """
    if not weight.shape[2]:
        # All inputs of a run are cut.
        narrow = bits is not None and bits <= 8
        return Solution(weight, weight if narrow else None, scale, weight.bool() if sparsity else None)
    order = moments.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True)
    if sparsity == "2:4" and mask is None:
        order = _quad_order(weight.shape[2], kernel).expand(len(weight), -1)
    back = order.argsort(dim=1)
    ordered, gram = _permute(weight, order), solvers.restrict(moments, order)
    if not sparsity and (bits is None or bits == 16):
        return Solution(weight if bits is None else weight.half().float())
    factor = solvers.inverse_factor(gram)
    if mask is not None:
        mask = _permute(mask, order)
    elif sparsity == "2:4":
        mask = solvers.sparsify_quads(ordered, factor, _in_quads(weight.shape[2], kernel))
    elif sparsity:
        mask = solvers.sparsify_columns(ordered, factor, kept)
    outer = None if mask is None else _permute(mask, back)
    if bits is None or bits == 16:
        zeroed = _permute(solvers.round_columns(ordered, factor, None, (0, 0), mask), back)
        return Solution(zeroed if bits is None else zeroed.half().float(), mask=outer)
    best = _rounded(ordered, gram, factor, bits, mask, scale)
    codes = _permute(best.codes, back)
    return Solution(codes * best.scale[..., None], codes, best.scale, outer)


def solve_runs(
    weights: Sequence[Tensor],
    moments: Sequence[Tensor],
    *,
    bits: int | None = None,
    sparsity: Sparsity | None = None,
    kept: int = 0,
    kernel: int = 1,
) -> list[Solution]:
    """Call `solve` for every run of a layer; runs have common scales of rows, and divide the kept weights."""
    if len(weights) == 1:
        return [solve(weights[0], moments[0], bits=bits, sparsity=sparsity, kept=kept, kernel=kernel)]
    scale = None
    masks: Sequence[Tensor | None] = [None] * len(weights)
    if bits is not None and bits <= 8:
        whole = torch.cat(list(weights), dim=2)
        scale = quantise_weight(whole.reshape(-1, whole.shape[2]), bits).scale.reshape(whole.shape[:2])
    if sparsity == "2:4":
        masks = _quads_over_runs(weights, moments, kernel)
    quotas = _shares(kept, [weight.numel() for weight in weights])
    return [
        solve(weight, gram, bits=bits, sparsity=sparsity, kept=quota, kernel=kernel, scale=scale, mask=chosen)
        for weight, gram, quota, chosen in zip(weights, moments, quotas, masks, strict=True)
    ]


def _quads_over_runs(weights: Sequence[Tensor], moments: Sequence[Tensor], kernel: int) -> list[Tensor]:
    """Choose two of every four channels by their single removal losses: groups of four may span two runs."""
    losses = [
        linear_algebra.removal_losses(weight, gram) for weight, gram in zip(weights, moments, strict=True)
    ]
    whole = torch.cat(losses, dim=2)
    per_channel = whole.reshape(*whole.shape[:2], -1, kernel)
    chosen = mask_of(per_channel, "2:4", 0, axis=2).reshape(whole.shape)
    return list(torch.split(chosen, [weight.shape[2] for weight in weights], dim=2))


def _shares(total: int, sizes: Sequence[int]) -> list[int]:
    """Split `total` in proportion to sizes, exactly."""
    bounds = [0]
    for size in sizes:
        bounds.append(bounds[-1] + size)
    cuts = [round(total * bound / bounds[-1]) for bound in bounds]
    return [stop - start for start, stop in itertools.pairwise(cuts)]


@dataclass(frozen=True)
class _Best:
    """Best integers and scale of each row so far."""

    codes: Tensor
    scale: Tensor
    error: Tensor

    def or_better(self, codes: Tensor, scale: Tensor, weight: Tensor, moments: Tensor) -> _Best:
        error = solvers.error(weight - codes * scale[..., None], moments)
        wins = error < self.error
        return _Best(
            torch.where(wins[..., None], codes, self.codes),
            torch.where(wins, scale, self.scale),
            torch.where(wins, error, self.error),
        )


def _rounded(
    weight: Tensor, moments: Tensor, factor: Tensor, bits: int, mask: Tensor | None, scale: Tensor | None
) -> _Best:
    """Return integers and scales: for each row the best ones found, never worse than plain rounding."""
    limits = levels(bits)
    goal = weight if mask is None else solvers.round_columns(weight, factor, None, limits, mask)
    best = _plain(goal, weight, moments, bits, scale)
    if mask is not None:
        best = _Best(best.codes * mask, best.scale, torch.full_like(best.error, math.inf)).or_better(
            best.codes * mask, best.scale, weight, moments
        )
    step = best.scale
    for turn in range(ROUNDS):
        codes = solvers.round_columns(weight, factor, step, limits, mask)
        if turn + 1 == ROUNDS and mask is None:
            for _ in range(POLISHES):
                codes = solvers.polish(codes, weight, moments, step, limits)
        best = best.or_better(codes, step, weight, moments)
        if scale is not None:
            continue
        # Fit the scale to these integers, and round again with it.
        step = _fitted(codes, weight, moments)
        best = best.or_better(codes, step, weight, moments)
    return best


def _plain(goal: Tensor, weight: Tensor, moments: Tensor, bits: int, scale: Tensor | None) -> _Best:
    """Round plainly, with the scale of least output error among clipping ratios and the least-squares scale."""
    low, high = levels(bits)
    groups, rows, width = goal.shape
    if scale is None:
        top = goal.abs().amax(-1)
        plain = quantise_weight(goal.reshape(-1, width), bits).scale.reshape(groups, rows)
        ratios = torch.logspace(0, math.log10(SMALLEST_CLIP[bits]), CLIPPING_STEPS)
        scales = torch.stack([float16_scale(top / high * ratio) for ratio in ratios] + [plain])
        # The integers of an all-zero row are zero under any scale.
        scales = torch.where(top > 0, scales, torch.ones_like(scales))
    else:
        scales = scale[None]
    codes = (goal / scales[..., None]).round_().clamp_(low, high)
    wrong = (weight - codes * scales[..., None]).transpose(0, 1).reshape(groups, -1, width)
    errors = solvers.error(wrong, moments).reshape(groups, -1, rows).transpose(0, 1)
    least, place = errors.min(0)
    chosen = codes.gather(0, place[None, ..., None].expand(1, -1, -1, width))[0]
    return _Best(chosen, scales.gather(0, place[None])[0], least)


def _fitted(codes: Tensor, weight: Tensor, moments: Tensor) -> Tensor:
    """Return the scale of least output error for given integers, s = (w G q) / (q G q)."""
    spread = codes @ moments
    top, below = (spread * weight).sum(-1), (spread * codes).sum(-1)
    # If all integers are zero, any scale does.
    return float16_scale(torch.where(below > 0, top / below.clamp_min(1e-20), torch.ones_like(top)))


def _quad_order(width: int, kernel: int) -> Tensor:
    """Order columns with channels side by side at each kernel position; an incomplete group of four comes last."""
    places = torch.arange(width).reshape(-1, kernel)
    whole = len(places) // 4 * 4
    return torch.cat([places[:whole].T.flatten(), places[whole:].flatten()])


def _in_quads(width: int, kernel: int) -> int:
    """Return the number of columns of `_quad_order` in whole groups of four."""
    return width // kernel // 4 * 4 * kernel


def _permute(rows: Tensor, order: Tensor) -> Tensor:
    return rows.gather(2, order[:, None, :].expand(-1, rows.shape[1], -1))
