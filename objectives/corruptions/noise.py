"""Noise drawn independently for every value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leanfront.core.objectives.corruptions.corruption import Generators, Images


def gaussian_noise(pixels: Images, deviation: float, generators: Generators) -> Images:
    """Compute x + N(0, deviation^2)."""
    return pixels + np.float32(deviation) * _normal(pixels, generators)


def shot_noise(pixels: Images, photons: float, generators: Generators) -> Images:
    """Compute Poisson(photons x) / photons: the count of a sensor if white is this many photons."""
    counts = [
        generator.poisson(image) for image, generator in zip(pixels * float(photons), generators, strict=True)
    ]
    return np.stack(counts).astype(np.float32) / np.float32(photons)


def impulse_noise(pixels: Images, share: float, generators: Generators) -> Images:
    """Set this share of the values to 0 or 1, one half each."""
    drawn = _uniform(pixels, generators)
    noisy = np.where(drawn < share, np.float32(0), pixels)
    return np.where(drawn < share / 2, np.float32(1), noisy)


def speckle_noise(pixels: Images, deviation: float, generators: Generators) -> Images:
    """Compute x + x N(0, deviation^2)."""
    return pixels + pixels * np.float32(deviation) * _normal(pixels, generators)


def _normal(pixels: Images, generators: Generators) -> Images:
    return np.stack([each.standard_normal(pixels.shape[1:], dtype=np.float32) for each in generators])


def _uniform(pixels: Images, generators: Generators) -> NDArray[np.float64]:
    return np.stack([each.random(pixels.shape[1:]) for each in generators])
