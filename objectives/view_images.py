"""Functions that make the images of views."""

from __future__ import annotations

import torch
from torch import Tensor

from leanfront.core.objectives.corruptions import MAIN, corrupt
from leanfront.core.objectives.views import (
    BYTES,
    CORRUPTED_SAMPLES,
    FEWEST_SAMPLES,
    NOISY_SAMPLES,
    SEED,
    SEVERITIES,
    SIGMA,
    View,
)
from leanfront.core.targets import Split
from leanfront.core.targets.pictures import Pictures
from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.sampling import balanced


def corrupted(split: Split, pixels: Pixels) -> View:
    """Apply the 15 main corruptions at three severities; ways are named like ``gaussian_noise/1``."""
    positions = _some(split, CORRUPTED_SAMPLES, len(MAIN) * len(SEVERITIES))
    chosen = Pictures.of(split.subset(positions), pixels)
    clean, seeds = chosen.scaled(), positions.tolist()
    ways = {
        f"{name}/{severity}": chosen.others(corrupt(name, clean, severity, seeds))
        for name in MAIN
        for severity in SEVERITIES
    }
    return View(positions, chosen.labels, ways)


def noisy(split: Split, pixels: Pixels) -> View:
    """Add one draw of Gaussian noise with standard deviation `SIGMA`."""
    positions = _some(split, NOISY_SAMPLES, 1)
    chosen = Pictures.of(split.subset(positions), pixels)
    clean = chosen.scaled()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(SEED))
    return View(positions, chosen.labels, {"gaussian": chosen.others(clean + SIGMA * noise)})


def _some(split: Split, wanted: int, ways: int) -> Tensor:
    """Choose at most `wanted` samples, balanced over the classes, whose images fit into `BYTES` together."""
    each = ways * max(1, torch.Size(split.sample_shape).numel())
    count = min(len(split), wanted, max(FEWEST_SAMPLES, BYTES // each))
    return balanced(split.labels, count, seed=SEED, share=1.0)
