"""Stability of answers: flips under noise, agreement with the dense model, margins and Lipschitz bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.audit.kinds.robustness.noise import gaussian, uniform
from leanfront.core.audit.kinds.robustness.probe import Probe
from leanfront.core.objectives.documents import plain
from leanfront.core.objectives.robust import flip_rate
from leanfront.errors import UsageError

SIGMAS = (0.04, 0.06, 0.08, 0.09, 0.10)
"""Standard deviations of the Gaussian noise: the five severities of CIFAR-10-C."""
AMPLITUDES = (0.05, 0.1, 0.2)
"""Half widths of the uniform noise."""
DIRECTIONS = 8
RADIUS = 1 / 255
"""Root mean square change of a pixel for the Lipschitz bound: one level of an image file."""


@dataclass(frozen=True)
class Rate:
    """A share of samples, or of noisy pictures of them, with its 95% interval (`objectives/robust.py`).

    Args:
        level: sigma or half width of the noise on [0, 1] pixels; None for images of pure noise.
        value: the share.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of samples.
        draws: number of pictures of each sample.
    """

    level: float | None
    value: float
    low: float | None
    high: float | None
    n: int
    draws: int


@dataclass(frozen=True)
class Summary:
    """Distribution of a number over the samples where it is defined; all NaN if there are none.

    Args:
        mean: mean of the n values.
        lower: first quartile, interpolated linearly.
        median: second quartile.
        upper: third quartile.
        n: number of samples with a value.
        undefined: number of samples without a value.
    """

    mean: float
    lower: float
    median: float
    upper: float
    n: int
    undefined: int


@dataclass(frozen=True)
class Stability:
    """The result of `stability` for one module.

    Args:
        flips: flip rate for each sigma.
        noise_agreement: agreement with the dense model on images of pure uniform noise.
        noisy_agreement: agreement with the dense model on samples under uniform noise, for each amplitude.
        margin: local margins, in units of pixels (2-norm over an image).
        lipschitz: local Lipschitz lower bounds, logits (2-norm) per unit of pixels (2-norm).
    """

    flips: tuple[Rate, ...]
    noise_agreement: Rate
    noisy_agreement: tuple[Rate, ...]
    margin: Summary
    lipschitz: Summary

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        found: dict[str, Any] = plain(self)
        return found


def stability(
    module: nn.Module,
    dense: nn.Module,
    probe: Probe,
    *,
    sigmas: Sequence[float] = SIGMAS,
    amplitudes: Sequence[float] = AMPLITUDES,
    draws: int = 1,
    directions: int = DIRECTIONS,
    radius: float = RADIUS,
) -> Stability:
    """Measure the stability of one module.

    Args:
        module: module in eval mode, on the probe's device.
        dense: the dense model, likewise.
        probe: n images.
        sigmas: standard deviations of the Gaussian noise.
        amplitudes: half widths of the uniform noise.
        draws: number of noisy pictures for each sample and level.
        directions: number of random directions for the Lipschitz bound.
        radius: radius of the Lipschitz bound.

    Raises:
        UsageError: a module is in training mode, or a setting is out of range.
        EvaluationError: a module cannot be run or differentiated.
    """
    return Stability(
        flips(module, probe, sigmas, draws),
        noise_agreement(module, dense, probe),
        noisy_agreement(module, dense, probe, amplitudes, draws),
        summary(margins(module, probe)),
        summary(lipschitz(module, probe, directions, radius)),
    )


def with_gaussian_noise(probe: Probe, sigma: float, draw: int = 0) -> Tensor:
    """Return pixels (n, c, h, w) clip(x + sigma n, 0, 1) with n standard normal, the same n for all sigmas."""
    _positive("sigma", sigma)
    noise = gaussian(probe.images.shape[1:], probe.seeds, "gaussian noise", draw)
    return (probe.images + sigma * noise).clamp(0, 1)


def with_uniform_noise(probe: Probe, amplitude: float, draw: int = 0) -> Tensor:
    """Return pixels (n, c, h, w) clip(x + u, 0, 1) with u uniform on [-amplitude, amplitude]."""
    _positive("amplitude", amplitude)
    noise = uniform(probe.images.shape[1:], probe.seeds, "uniform noise", draw)
    return (probe.images + amplitude * (2 * noise - 1)).clamp(0, 1)


def noise_images(probe: Probe, draw: int = 0) -> Tensor:
    """Return images (n, c, h, w) of pure noise, with every pixel uniform on [0, 1]."""
    return uniform(probe.images.shape[1:], probe.seeds, "noise image", draw)


def flips(
    module: nn.Module, probe: Probe, sigmas: Sequence[float] = SIGMAS, draws: int = 1
) -> tuple[Rate, ...]:
    """Estimate P[argmax f(clip(x + sigma n)) != argmax f(x)] for each sigma, with n standard normal.

    Raises:
        UsageError: a sigma or `draws` is not positive, or the module is in training mode.
        EvaluationError: the module's outputs are not finite.
    """
    _positive("draws", draws)
    clean, found = probe.logits(module), []
    for sigma in sigmas:
        noisy = _drawn(module, probe, partial(with_gaussian_noise, sigma=sigma), draws)
        found.append(Rate(sigma, *flip_rate(clean, noisy), len(probe), draws))
    return tuple(found)


def noise_agreement(module: nn.Module, dense: nn.Module, probe: Probe) -> Rate:
    """Estimate P[argmax f(u) = argmax f_0(u)] with the dense f_0, on one image u of uniform noise per sample.

    Raises:
        UsageError: a module is in training mode, or the modules have different classes.
        EvaluationError: outputs are not finite.
    """
    return _agreement(None, module, dense, probe, noise_images, 1)


def noisy_agreement(
    module: nn.Module,
    dense: nn.Module,
    probe: Probe,
    amplitudes: Sequence[float] = AMPLITUDES,
    draws: int = 1,
) -> tuple[Rate, ...]:
    """Estimate P[argmax f(clip(x + u)) = argmax f_0(clip(x + u))] for each amplitude e, with u uniform on [-e, e].

    Raises:
        UsageError: an amplitude or `draws` is not positive, a module is in training mode, or the modules have
            different classes.
        EvaluationError: outputs are not finite.
    """
    _positive("draws", draws)
    return tuple(
        _agreement(each, module, dense, probe, partial(with_uniform_noise, amplitude=each), draws)
        for each in amplitudes
    )


def margins(module: nn.Module, probe: Probe) -> Tensor:
    """Compute (z_1 - z_2) / |grad (z_1 - z_2)|_2, the distance to the nearest other answer to first order.

    z_1 and z_2 are the largest and second largest logit, whatever the label; the gradient is by the pixels.

    Returns:
        (n,) float64; NaN where the gradient is zero.

    Raises:
        UsageError: the module is in training mode.
        EvaluationError: the module cannot be run or differentiated.

    Source: Moosavi-Dezfooli et al., "DeepFool", CVPR 2016, its first step; Elsayed et al., "Large margin deep
    networks for classification", NeurIPS 2018.
    """
    lead = _lead(probe.logits(module).double())
    length = torch.cat([_lengths(part.gradient(module, _lead)) for part in probe.parts()])
    return torch.where(length > 0, lead / length, torch.nan)


def lipschitz(
    module: nn.Module, probe: Probe, directions: int = DIRECTIONS, radius: float = RADIUS
) -> Tensor:
    """Compute max over d of |f(x + d) - f(x)|_2 / |d|_2, a lower bound of the local Lipschitz constant of the logits.

    d runs over random directions and plus and minus the gradient of z_1 - z_2, all of one length; x + d is clipped to
    [0, 1], and d is the remaining change. A model that rounds activations has no finite constant, and its result
    depends on the radius.

    Args:
        module: module in eval mode, on the probe's device.
        probe: n images.
        directions: number of random directions, 0 or more.
        radius: |d|_2 over the root of the number of pixel values.

    Returns:
        (n,) float64; NaN where no direction changes the image.

    Raises:
        UsageError: directions or radius is out of range, or the module is in training mode.
        EvaluationError: the module cannot be run or differentiated.

    Source: Weng et al., "Evaluating the robustness of neural networks: an extreme value theory approach", ICLR 2018.
    """
    _positive("radius", radius)
    if directions < 0:
        raise UsageError(f"directions must be 0 or more, not {directions}")
    return torch.cat([_lipschitz(module, part, directions, radius) for part in probe.parts()])


def _lipschitz(module: nn.Module, probe: Probe, directions: int, radius: float) -> Tensor:
    shape, clean = probe.images.shape[1:], probe.logits(module).double()
    gradient = probe.gradient(module, _lead)
    best = torch.full((len(probe),), torch.nan, dtype=torch.float64)
    ways = (gaussian(shape, probe.seeds, "direction", number) for number in range(directions))
    for way in (gradient, -gradient, *ways):
        length = _lengths(way).view(-1, 1, 1, 1)
        unit = torch.where(length > 0, way / length, 0.0)
        images = (probe.images + radius * math.sqrt(shape.numel()) * unit).clamp(0, 1).float()
        moved = _lengths(images.double() - probe.images)
        change = (probe.logits(module, images).double() - clean).norm(dim=1)
        best = torch.fmax(best, torch.where(moved > 0, change / moved, torch.nan))
    return best


def summary(values: Tensor) -> Summary:
    """Summarise values (n,), with NaN for samples without a value."""
    known = values.double()[~values.isnan()]
    missing = len(values) - len(known)
    if not len(known):
        return Summary(math.nan, math.nan, math.nan, math.nan, 0, missing)
    ends = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    lower, median, upper = torch.quantile(known, ends).tolist()
    return Summary(float(known.mean()), lower, median, upper, len(known), missing)


def _lead(logits: Tensor) -> Tensor:
    """Compute z_1 - z_2, the lead of the largest logit."""
    top = logits.topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def _lengths(images: Tensor) -> Tensor:
    """Compute 2-norms in float64, where the squares of small gradients do not underflow."""
    found: Tensor = images.double().flatten(1).norm(dim=1)
    return found


def _drawn(module: nn.Module, probe: Probe, noisy: Callable[..., Tensor], draws: int) -> Tensor:
    """Compute logits (draws, n, C) on noisy images, which are made batch by batch."""
    return torch.stack(
        [
            torch.cat([part.logits(module, noisy(part, draw=draw)) for part in probe.parts()])
            for draw in range(draws)
        ]
    )


def _agreement(
    level: float | None,
    module: nn.Module,
    dense: nn.Module,
    probe: Probe,
    noisy: Callable[..., Tensor],
    draws: int,
) -> Rate:
    reference, own = (_drawn(each, probe, noisy, draws) for each in (dense, module))
    value, low, high = flip_rate(reference, own)
    ends = (None if high is None else 1 - high, None if low is None else 1 - low)
    return Rate(level, 1 - value, *ends, len(probe), draws)


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} must be a number above 0, not {value}")
