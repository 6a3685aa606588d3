"""Uniform quantisers: symmetric per-channel weights, affine per-tensor activations, float16."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leanfront.errors import CompressionError

CLIPPING_STEPS = 48
"""Number of clipping ratios tried for a weight scale, geometrically spaced from 1 down to the smallest clip."""
SMALLEST_CLIP = {2: 0.06, 3: 0.08, 4: 0.15, 5: 0.25, 6: 0.4, 7: 0.6, 8: 0.75}
"""Bits -> smallest ratio, low enough for heavy tails: thousands of draws of Student's t with 3 degrees of freedom."""
TRIED_AT_ONCE = 2**17
"""Number of weights that are rounded in one call while a scale is searched: they fit into a cache."""
REFINEMENTS = 3
SMALLEST_SCALE = 2.0**-24
"""The smallest positive float16."""
HISTOGRAM_BINS = 2048
PERCENTILE = 0.9999


@dataclass(frozen=True)
class Quantised:
    """A weight tensor as integers and scales.

    Args:
        codes: int8, the weight's shape, in [-2^(bits-1), 2^(bits-1) - 1].
        scale: float32 holding float16 values, shape (channels,): one scale per output channel.
        bits: 2..8.
        axis: the output-channel axis of `codes`.
    """

    codes: Tensor
    scale: Tensor
    bits: int
    axis: int = 0

    def dequantise(self) -> Tensor:
        """Return codes x scale, float32, in the weight's shape."""
        shape = [1] * self.codes.dim()
        shape[self.axis] = -1
        return self.codes.float() * self.scale.view(shape)


def levels(bits: int) -> tuple[int, int]:
    """Return the smallest and largest integer of a b-bit weight, which has 2^b levels."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def quantise_weight(weight: Tensor, bits: int, axis: int = 0) -> Quantised:
    """Round each weight to its nearest level, with the scale per output channel that minimises the squared error.

    The scale is searched over clipping ratios of the channel's absolute maximum, then refined by the
    closed form for fixed integers, s = sum(w q) / sum(q^2), kept where it lowers the error. Scales are
    float16 values, and the integers are those of the rounded scale.

    Args:
        weight: floating point, any shape.
        bits: 2..8.
        axis: the output-channel axis.

    Returns:
        Integers and scales; all zeros with scale 1 for an all-zero channel.
    """
    low, high = levels(bits)
    moved = weight.detach().float().movedim(axis, 0)
    rows = moved.reshape(moved.shape[0], -1)
    top = rows.abs().amax(dim=1, keepdim=True)
    full = top / high
    ratios = torch.cat((torch.ones(1), torch.logspace(0, math.log10(SMALLEST_CLIP[bits]), CLIPPING_STEPS)))
    best_scale, best_error = float16_scale(full), torch.full_like(full, math.inf)
    # Small layers are tried on all ratios at once: their time is that of the calls.
    for some in torch.split(ratios.to(rows.device), max(1, TRIED_AT_ONCE // max(1, rows.numel()))):
        scales = float16_scale(full * some[:, None, None])
        error, place = _error(rows, scales, low, high).min(0)
        best_scale, best_error = _better(scales.gather(0, place[None])[0], error, best_scale, best_error)
    for _ in range(REFINEMENTS):
        codes = (rows / best_scale).round_().clamp_(low, high)
        fitted = (rows * codes).sum(1, keepdim=True) / codes.square().sum(1, keepdim=True).clamp_min(1e-12)
        scale = float16_scale(fitted)
        best_scale, best_error = _better(scale, _error(rows, scale, low, high), best_scale, best_error)
    codes = (rows / best_scale).round_().clamp_(low, high)
    # An all-zero channel gets the scale 1: its codes are zero under any scale.
    scale = torch.where(top > 0, best_scale, torch.ones_like(best_scale))
    integers = codes.to(torch.int8).reshape(moved.shape).movedim(0, axis).contiguous()
    return Quantised(integers, scale.flatten(), bits, axis)


def float16_scale(scale: Tensor) -> Tensor:
    """Return the nearest float16 value, kept positive and finite."""
    return scale.clamp(SMALLEST_SCALE, 65504).half().float()


def _error(rows: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    return (rows - (rows / scale).round_().clamp_(low, high).mul_(scale)).square_().sum(-1, keepdim=True)


def _better(scale: Tensor, error: Tensor, best: Tensor, best_error: Tensor) -> tuple[Tensor, Tensor]:
    wins = error < best_error
    return torch.where(wins, scale, best), torch.where(wins, error, best_error)


class ActivationQuantiser(nn.Module):
    """Quantiser of a layer's input to the 2^bits levels of an affine grid, per tensor.

    A calibrated quantiser holds scale and zero point; a dynamic one takes both from each batch's own range.
    The zero is exactly on the grid, so that padding stays exact.

    Args:
        bits: 4..8.
        scale: step, or None for dynamic ranges.
        zero_point: integer in [0, 2^bits - 1] that stands for 0.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, bits: int, scale: float | None = None, zero_point: int = 0) -> None:
        super().__init__()
        self.bits = bits
        self.dynamic = scale is None
        self.register_buffer("scale", torch.tensor(1.0 if scale is None else scale))
        self.register_buffer("zero_point", torch.tensor(zero_point, dtype=torch.int32))

    def forward(self, inputs: Tensor) -> Tensor:
        scale, zero_point = self.scale, self.zero_point
        if self.dynamic:
            # The grid gets no gradient; rounding passes the gradient straight through.
            values = inputs.detach()
            scale, zero_point = affine(values.amin(), values.amax(), self.bits)
        return torch.fake_quantize_per_tensor_affine(
            inputs.float(), scale.float(), zero_point, 0, 2**self.bits - 1
        ).to(inputs.dtype)


def affine(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return scale and zero point of the grid over [min(low, 0), max(high, 0)]."""
    low, high = low.float().clamp_max(0), high.float().clamp_min(0)
    scale = ((high - low) / (2**bits - 1)).clamp_min(torch.finfo(torch.float32).tiny)
    zero_point = (-low / scale).round().clamp(0, 2**bits - 1).to(torch.int32)
    return scale, zero_point


class RangeObserver:
    """Histogram of a layer's inputs over calibration batches.

    The range grows by doubling the bin width, so that no second pass is needed.
    """

    def __init__(self) -> None:
        self.low = float("inf")
        self.high = float("-inf")
        self.width = 0.0
        self.counts = torch.zeros(2 * HISTOGRAM_BINS, dtype=torch.float64)

    def observe(self, inputs: Tensor) -> None:
        """Add a tensor's values.

        Raises:
            CompressionError: one of them is NaN or infinite.
        """
        values = inputs.detach().float().flatten().cpu()
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CompressionError(
                f"activations run from {low} to {high}: ranges need finite values; prune or quantise less"
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        reach = max(abs(self.low), abs(self.high), 1e-12)
        if self.width == 0:
            self.width = reach / HISTOGRAM_BINS
        while self.width * HISTOGRAM_BINS < reach:
            # Bins pair up around zero, which stays on a bin border.
            paired = self.counts.view(-1, 2).sum(1)
            self.counts.zero_()
            self.counts[HISTOGRAM_BINS // 2 : HISTOGRAM_BINS // 2 + HISTOGRAM_BINS] = paired
            self.width *= 2
        bins = (values / self.width).floor().long().clamp_(-HISTOGRAM_BINS, HISTOGRAM_BINS - 1)
        self.counts += torch.bincount(bins + HISTOGRAM_BINS, minlength=2 * HISTOGRAM_BINS)

    def centres(self) -> Tensor:
        """Return the mid-points of the bins."""
        return (torch.arange(-HISTOGRAM_BINS, HISTOGRAM_BINS, dtype=torch.float64) + 0.5) * self.width


def _minmax(observer: RangeObserver, bits: int) -> tuple[float, float]:
    """Return the whole observed range."""
    return observer.low, observer.high


def _percentile(observer: RangeObserver, bits: int) -> tuple[float, float]:
    """Return the range that leaves (1 - 0.9999) / 2 of the values out on either side."""
    share = observer.counts.cumsum(0) / observer.counts.sum()
    centres = observer.centres()
    tail = (1 - PERCENTILE) / 2
    low = float(centres[int((share > tail).nonzero()[0])])
    high = float(centres[int((share >= 1 - tail).nonzero()[0])])
    return max(low, observer.low), min(high, observer.high)


def _mse(observer: RangeObserver, bits: int) -> tuple[float, float]:
    """Return the shrunk range with the least squared error of rounding and clipping on the histogram."""
    centres, counts = observer.centres(), observer.counts
    best, least = (observer.low, observer.high), float("inf")
    for ratio in torch.linspace(1, 0.2, 60).tolist():
        low, high = observer.low * ratio, observer.high * ratio
        scale, zero = affine(torch.tensor(low), torch.tensor(high), bits)
        codes = (centres / scale + zero).round().clamp(0, 2**bits - 1)
        error = float((counts * ((codes - zero) * scale - centres).square()).sum())
        if error < least:
            best, least = (low, high), error
    return best


RANGES: dict[str, Callable[[RangeObserver, int], tuple[float, float]]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
}
"""Range rules by name: (observer, bits) -> (low, high). ``dynamic`` needs none."""


def calibrated(observer: RangeObserver, rule: str, bits: int) -> ActivationQuantiser:
    """Return a quantiser with the range that a rule picks from the observed values."""
    low, high = RANGES[rule](observer, bits)
    scale, zero_point = affine(torch.tensor(low), torch.tensor(high), bits)
    return ActivationQuantiser(bits, float(scale), int(zero_point))


def quantise_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Forward pre-hook of a layer that carries an `input_quantiser`."""
    quantiser = module.get_submodule("input_quantiser")
    return (quantiser(inputs[0]), *inputs[1:])
