"""Rate-distortion bounds of fitted sources: the least bits per weight at a given distortion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from leanfront.core.objectives.documents import plain

MOST_VALUES = 1_000_000
"""Largest number of weights that sources are fitted to; larger layers are sampled evenly."""
FEWEST_VALUES = 16
"""Least number of weights to fit a source to."""

Floats = npt.NDArray[np.floating[Any]]


def gaussian_rate(variance: float, distortion: float) -> float:
    """Compute R(D) = max(0, 1/2 log2(variance / D)), bits, of a Gaussian source under squared error D > 0."""
    return max(0.0, 0.5 * math.log2(variance / distortion))


def laplacian_rate(rate: float, distortion: float) -> float:
    """Compute R(D) = -log2(rate D), at least 0, bits, of a Laplacian source under absolute error D > 0.

    Args:
        rate: lambda of the density lambda / 2 exp(-lambda |x|).
        distortion: mean absolute error.

    Source: Berger, Rate distortion theory, 1971; Isik et al., An information-theoretic justification for model
    pruning, AISTATS 2022.
    """
    return max(0.0, -math.log2(rate * distortion))


def shannon_bound(entropy: float, distortion: float) -> float:
    """Compute Shannon's lower bound h(X) - 1/2 log2(2 pi e D), at least 0, bits, under squared error D > 0.

    Args:
        entropy: differential entropy, bits.
        distortion: mean squared error.
    """
    return max(0.0, entropy - 0.5 * math.log2(2 * math.pi * math.e * distortion))


def pruning_distortion(share: float) -> float:
    """Compute squared error over E[w^2] when the smallest weights of a Laplacian source are zeroed.

    Args:
        share: share of zeroed weights, in [0, 1).

    Returns:
        1 - exp(-u) (1 + u + u^2 / 2), u = -log(1 - share).
    """
    u = -math.log1p(-share)
    return 1 - math.exp(-u) * (1 + u + u * u / 2)


@dataclass(frozen=True)
class Sources:
    """A layer's weights described as a source.

    Args:
        values: number of weights fitted.
        mean: mean of the weights.
        variance: variance of the weights.
        gaussian_misfit: Kolmogorov-Smirnov distance to the fitted Gaussian.
        median: centre of the fitted Laplacian.
        rate: lambda of the fitted Laplacian, 1 / mean distance from the median.
        laplacian_misfit: Kolmogorov-Smirnov distance to the fitted Laplacian.
        entropy: empirical differential entropy, bits.
    """

    values: int
    mean: float
    variance: float
    gaussian_misfit: float
    median: float
    rate: float
    laplacian_misfit: float
    entropy: float

    @property
    def fitted(self) -> str:
        """Name of the source that fits better."""
        return "gaussian" if self.gaussian_misfit <= self.laplacian_misfit else "laplacian"

    def bounds(self, mean_square: float, mean_absolute: float) -> dict[str, float]:
        """Compute the least bits per weight at a distortion, by source.

        ``gaussian`` is R(D) of the Gaussian, the largest of any source of this variance; ``laplacian`` is R(D) of the
        Laplacian, which is known under absolute error; ``shannon`` and ``laplacian_shannon`` are lower bounds under
        squared error from the empirical entropy and from the Laplacian's, log2(2 e / lambda).
        """
        return {
            "gaussian": gaussian_rate(self.variance, mean_square),
            "laplacian": laplacian_rate(self.rate, mean_absolute),
            "laplacian_shannon": shannon_bound(math.log2(2 * math.e / self.rate), mean_square),
            "shannon": shannon_bound(self.entropy, mean_square),
        }

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {**plain(self), "fitted": self.fitted}


def sources(weights: Floats) -> Sources | None:
    """Fit a Gaussian and a Laplacian by maximum likelihood.

    Args:
        weights: any shape.

    Returns:
        The sources, or None if there are fewer than 16 weights or all are equal.
    """
    flat = np.asarray(weights, dtype=np.float64).reshape(-1)
    if len(flat) > MOST_VALUES:
        flat = flat[np.linspace(0, len(flat) - 1, MOST_VALUES).round().astype(np.int64)]
    if len(flat) < FEWEST_VALUES or flat.min() == flat.max():
        return None
    mean, variance, median = float(flat.mean()), float(flat.var()), float(np.median(flat))
    spread = float(np.abs(flat - median).mean())
    return Sources(
        values=len(flat),
        mean=mean,
        variance=variance,
        gaussian_misfit=float(stats.kstest(flat, stats.norm(mean, math.sqrt(variance)).cdf).statistic),
        median=median,
        rate=1 / spread,
        laplacian_misfit=float(stats.kstest(flat, stats.laplace(median, spread).cdf).statistic),
        entropy=float(stats.differential_entropy(flat, base=2)),
    )


@dataclass(frozen=True)
class RatePoint:
    """Rate and distortion of a layer's weights.

    Args:
        layer: name of the layer.
        bits: bits per weight as coded, with masks, scales and the code's table.
        mean_square: mean squared error of a weight.
        mean_absolute: mean absolute error of a weight.
        bounds: `Sources.bounds` at this distortion.
        fitted: the source that fits the layer better.
        misfit: Kolmogorov-Smirnov distance to that source.
    """

    layer: str
    bits: float
    mean_square: float
    mean_absolute: float
    bounds: dict[str, float]
    fitted: str
    misfit: float

    @property
    def margins(self) -> dict[str, float]:
        """Bits above each bound; negative if below."""
        return {name: self.bits - bound for name, bound in self.bounds.items()}

    @property
    def below(self) -> bool:
        """Whether it lies below the bound of the better fit, so that the weights do not follow that source."""
        return self.margins[self.fitted] < 0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {**plain(self), "margins": self.margins, "below": self.below}


def rate_point(
    layer: str, bits: float, mean_square: float, mean_absolute: float, source: Sources
) -> RatePoint | None:
    """Compare a layer with its bounds; None if there is no distortion."""
    if mean_square <= 0 or mean_absolute <= 0:
        return None
    fitted = source.fitted
    return RatePoint(
        layer=layer,
        bits=bits,
        mean_square=mean_square,
        mean_absolute=mean_absolute,
        bounds=source.bounds(mean_square, mean_absolute),
        fitted=fitted,
        misfit=source.gaussian_misfit if fitted == "gaussian" else source.laplacian_misfit,
    )
