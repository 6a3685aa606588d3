"""Registry of corruptions: their parameters, and the places of the functions that apply them."""

from __future__ import annotations

import numpy as np

from leanfront.core.objectives.corruptions.corruption import SEVERITIES, Corruption
from leanfront.deferred import Deferred

SOURCE = "Hendrycks and Dietterich 2019 (arXiv 1903.12261), hendrycks/robustness"


def _zooms(end: float, step: float) -> tuple[float, ...]:
    # As published; due to rounding, NumPy's arange includes some of the ends.
    return tuple(np.arange(1, end, step).tolist())


def _of_224(*parameters: tuple[float, float, float]) -> tuple[tuple[float, ...], ...]:
    # The published lengths are multiples of 244 pixels, for images of 224 pixels.
    return tuple(tuple(each * 244 / 224 for each in values) for values in parameters)


def _function(place: str) -> Deferred:
    """Return a function of this folder, given as ``"file:function"``."""
    return Deferred(f"leanfront.core.objectives.corruptions.{place}")


CORRUPTIONS: dict[str, Corruption] = {
    corruption.name: corruption
    for corruption in (
        Corruption(
            "gaussian_noise",
            "noise",
            (0.04, 0.06, 0.08, 0.09, 0.10),
            (0.08, 0.12, 0.18, 0.26, 0.38),
            _function("noise:gaussian_noise"),
            SOURCE,
        ),
        Corruption(
            "shot_noise",
            "noise",
            (500, 250, 100, 75, 50),
            (60, 25, 12, 5, 3),
            _function("noise:shot_noise"),
            SOURCE,
        ),
        Corruption(
            "impulse_noise",
            "noise",
            (0.01, 0.02, 0.03, 0.05, 0.07),
            (0.03, 0.06, 0.09, 0.17, 0.27),
            _function("noise:impulse_noise"),
            SOURCE,
        ),
        Corruption(
            "speckle_noise",
            "noise",
            (0.06, 0.10, 0.12, 0.16, 0.20),
            (0.15, 0.20, 0.35, 0.45, 0.60),
            _function("noise:speckle_noise"),
            SOURCE,
        ),
        Corruption(
            "defocus_blur",
            "blur",
            ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
            ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
            _function("blur:defocus_blur"),
            SOURCE,
        ),
        Corruption(
            "glass_blur",
            "blur",
            ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
            ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
            _function("blur:glass_blur"),
            SOURCE + "; pixels are copied, as its code does, where its text says swapped",
        ),
        Corruption(
            "motion_blur",
            "blur",
            ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
            ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
            _function("blur:motion_blur"),
            SOURCE + "; ImageMagick's kernel rebuilt",
        ),
        Corruption(
            "zoom_blur",
            "blur",
            tuple(_zooms(end, 0.01) for end in (1.06, 1.11, 1.16, 1.21, 1.26)),
            tuple(
                _zooms(*each)
                for each in ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
            ),
            _function("blur:zoom_blur"),
            SOURCE,
        ),
        Corruption(
            "gaussian_blur",
            "blur",
            (0.4, 0.6, 0.7, 0.8, 1.0),
            (1.0, 2.0, 3.0, 4.0, 6.0),
            _function("blur:gaussian_blur"),
            SOURCE,
        ),
        Corruption(
            "snow",
            "weather",
            (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ),
            (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ),
            _function("weather:snow"),
            SOURCE,
        ),
        Corruption(
            "frost",
            "weather",
            ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
            ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
            _function("weather:frost"),
            SOURCE + "; a procedural texture in place of its photographs of ice",
        ),
        Corruption(
            "fog",
            "weather",
            ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
            ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
            _function("weather:fog"),
            SOURCE,
        ),
        Corruption(
            "brightness",
            "weather",
            (0.05, 0.1, 0.15, 0.2, 0.3),
            (0.1, 0.2, 0.3, 0.4, 0.5),
            _function("weather:brightness"),
            SOURCE,
        ),
        Corruption(
            "spatter",
            "weather",
            (
                (0.62, 0.1, 0.7, 0.7, 0.5, False),
                (0.65, 0.1, 0.8, 0.7, 0.5, False),
                (0.65, 0.3, 1, 0.69, 0.5, False),
                (0.65, 0.1, 0.7, 0.69, 0.6, True),
                (0.65, 0.1, 0.5, 0.68, 0.6, True),
            ),
            (
                (0.65, 0.3, 4, 0.69, 0.6, False),
                (0.65, 0.3, 3, 0.68, 0.6, False),
                (0.65, 0.3, 2, 0.68, 0.5, False),
                (0.65, 0.3, 1, 0.65, 1.5, True),
                (0.67, 0.4, 1, 0.65, 1.5, True),
            ),
            _function("weather:spatter"),
            SOURCE + "; the drops' outline in place of Canny's edges",
        ),
        Corruption(
            "contrast",
            "digital",
            (0.75, 0.5, 0.4, 0.3, 0.15),
            (0.4, 0.3, 0.2, 0.1, 0.05),
            _function("digital:contrast"),
            SOURCE,
        ),
        Corruption(
            "elastic_transform",
            "digital",
            ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
            _of_224(
                (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)
            ),
            _function("digital:elastic_transform"),
            SOURCE + "; lengths in proportion to the image",
        ),
        Corruption(
            "pixelate",
            "digital",
            (0.95, 0.9, 0.85, 0.75, 0.65),
            (0.6, 0.5, 0.4, 0.3, 0.25),
            _function("digital:pixelate"),
            SOURCE,
        ),
        Corruption(
            "jpeg_compression",
            "digital",
            (80, 65, 58, 50, 40),
            (25, 18, 15, 10, 7),
            _function("digital:jpeg_compression"),
            SOURCE,
        ),
        Corruption(
            "saturate",
            "digital",
            ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
            ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
            _function("digital:saturate"),
            SOURCE,
        ),
    )
}
"""Corruptions by name. To add one, write a function and an entry here."""

MAIN = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
"""The 15 corruptions of the mean corruption error; the published benchmark has the others for validation."""


def register(corruption: Corruption) -> Corruption:
    """Add a corruption to the registry.

    Raises:
        ValueError: the name is already registered, or there are not five parameter sets for each size.
    """
    if corruption.name in CORRUPTIONS:
        raise ValueError(f"corruption '{corruption.name}' is registered already")
    if len(corruption.small) != len(SEVERITIES) or len(corruption.large) != len(SEVERITIES):
        raise ValueError(
            f"corruption '{corruption.name}' must have {len(SEVERITIES)} parameter sets for each size"
        )
    CORRUPTIONS[corruption.name] = corruption
    return corruption
