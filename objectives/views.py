"""Views: images made of a split's on which some metrics need outputs, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from leanfront.core.targets import Split
from leanfront.core.targets.pictures import Pictures
from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.sampling import balanced

CORRUPTED, NOISY = "corrupted", "noisy"
SEVERITIES = (1, 3, 5)
"""Of the corruptions under which a search measures: the others lie between them."""
CORRUPTED_SAMPLES = 200
NOISY_SAMPLES = 1000
SIGMA = 0.08
"""Standard deviation of the noise under which flips are counted, on pixels in [0, 1]: the third of methods.md's."""
BYTES = 256 * 1024**2
"""What all images of a view may take together: of large ones there are fewer."""
FEWEST = 8
SEED = 0


@dataclass(frozen=True)
class View:
    """Images made of some samples of a split, in one or several ways.

    Args:
        positions: int64 (n,) of the samples in their split.
        labels: int64 (n,).
        ways: what was done to them -> the images of all n.
    """

    positions: Tensor
    labels: Tensor
    ways: Mapping[str, Pictures]


@dataclass(frozen=True)
class Answers:
    """What a model and the dense one answer on a view.

    Args:
        labels: int64 (n,).
        clean: (n, C) the model's logits on the samples as they are.
        logits: way -> (n, C) of the model.
        dense: way -> (n, C) of the dense model.
    """

    labels: Tensor
    clean: Tensor
    logits: Mapping[str, Tensor]
    dense: Mapping[str, Tensor]


def _corrupted(split: Split, pixels: Pixels) -> View:
    """The 15 main corruptions at three severities: way ``gaussian_noise/1``."""
    # Half a second of SciPy that processes which evaluate need not wait for.
    from leanfront.core.objectives.corruptions import MAIN, corrupt

    positions = _some(split, CORRUPTED_SAMPLES, len(MAIN) * len(SEVERITIES))
    chosen = Pictures.of(split.subset(positions), pixels)
    clean, seeds = chosen.scaled(), positions.tolist()
    ways = {
        f"{name}/{severity}": chosen.others(corrupt(name, clean, severity, seeds))
        for name in MAIN
        for severity in SEVERITIES
    }
    return View(positions, chosen.labels, ways)


def _noisy(split: Split, pixels: Pixels) -> View:
    """One draw of Gaussian noise of `SIGMA`."""
    positions = _some(split, NOISY_SAMPLES, 1)
    chosen = Pictures.of(split.subset(positions), pixels)
    clean = chosen.scaled()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(SEED))
    return View(positions, chosen.labels, {"gaussian": chosen.others(clean + SIGMA * noise)})


VIEWS: dict[str, Callable[[Split, Pixels], View]] = {CORRUPTED: _corrupted, NOISY: _noisy}
"""What makes a view of a split, by the name under which metrics need it. Nothing in it is random."""


def _some(split: Split, wanted: int, ways: int) -> Tensor:
    """Positions of so many samples, of all classes alike, that all their images fit into `BYTES`."""
    each = ways * max(1, torch.Size(split.sample_shape).numel())
    count = min(len(split), wanted, max(FEWEST, BYTES // each))
    return balanced(split.labels, count, seed=SEED, share=1.0)
