"""Views: altered images of a split, on which some metrics need outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leanfront.deferred import Deferred

if TYPE_CHECKING:
    from torch import Tensor

    from leanfront.core.targets import Pixels, Split
    from leanfront.core.targets.pictures import Pictures

CORRUPTED, NOISY = "corrupted", "noisy"
SEVERITIES = (1, 3, 5)
"""Severities at which a search measures corruptions; 2 and 4 lie between them."""
CORRUPTED_SAMPLES = 200
NOISY_SAMPLES = 1000
SIGMA = 0.08
"""Standard deviation of the noise under which flips are counted, on pixels in [0, 1]."""
BYTES = 256 * 1024**2
"""Memory limit for all images of a view; for large images it reduces their number."""
FEWEST_SAMPLES = 8
SEED = 0


@dataclass(frozen=True)
class View:
    """Images made from some samples of a split, in one or more ways.

    Args:
        positions: int64 (n,), positions of the samples in their split.
        labels: int64 (n,).
        ways: name of the alteration -> altered images of all n samples.
    """

    positions: Tensor
    labels: Tensor
    ways: Mapping[str, Pictures]


@dataclass(frozen=True)
class Answers:
    """Logits of a model and of the dense model on a view.

    Args:
        labels: int64 (n,).
        clean: (n, C) logits of the model on the unaltered samples.
        logits: way -> (n, C) logits of the model.
        dense: way -> (n, C) logits of the dense model.
    """

    labels: Tensor
    clean: Tensor
    logits: Mapping[str, Tensor]
    dense: Mapping[str, Tensor]


_IMAGES = "leanfront.core.objectives.view_images"

VIEWS: dict[str, Callable[[Split, Pixels], View]] = {
    CORRUPTED: Deferred(f"{_IMAGES}:corrupted"),
    NOISY: Deferred(f"{_IMAGES}:noisy"),
}
"""Functions that make a view of a split, by the name used in `Metric.needs`. They are deterministic."""
