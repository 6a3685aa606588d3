"""Views: images made of a split's on which some metrics need outputs, too."""

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
"""Of the corruptions under which a search measures: the others lie between them."""
CORRUPTED_SAMPLES = 200
NOISY_SAMPLES = 1000
SIGMA = 0.08
"""Standard deviation of the noise under which flips are counted, on pixels in [0, 1]: the third of methods.md's."""
BYTES = 256 * 1024**2
"""What all images of a view may take together: of large ones there are fewer."""
FEWEST_SAMPLES = 8
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


_IMAGES = "leanfront.core.objectives.view_images"

VIEWS: dict[str, Callable[[Split, Pixels], View]] = {
    CORRUPTED: Deferred(f"{_IMAGES}:corrupted"),
    NOISY: Deferred(f"{_IMAGES}:noisy"),
}
"""What makes a view of a split, by the name under which metrics need it. Nothing in it is random."""
