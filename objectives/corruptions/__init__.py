"""C-like corruptions of images at five severities: those of CIFAR-10-C and ImageNet-C, built anew.

Definitions and parameters are those of hendrycks/robustness; each `Corruption.source` names what differs, so
figures on them are comparable among models, but not with published figures on the original files.
"""

from __future__ import annotations

from leanfront.core.objectives.corruptions import blur, digital, noise, weather
from leanfront.core.objectives.corruptions.registry import (
    CORRUPTIONS,
    SEVERITIES,
    Corruption,
    corrupt,
    register,
)

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
"""The 15 that the mean corruption error is taken over; the others are for validation."""

for _family in (noise, blur, weather, digital):
    for _corruption in _family.CORRUPTIONS:
        register(_corruption)

__all__ = ["CORRUPTIONS", "MAIN", "SEVERITIES", "Corruption", "corrupt", "register"]
