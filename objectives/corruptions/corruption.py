"""Specification of a corruption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 64
"""Images with a shorter side below this many pixels use the parameters of CIFAR-10-C, others those of ImageNet-C."""

Images = NDArray[np.float32]
Generators = Sequence[np.random.Generator]
Apply = Callable[[Images, Any, Generators], NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Corruption:
    """A corruption of images at five severities.

    Args:
        name: name, as typed by a user; it enters the seeds.
        family: ``noise``, ``blur``, ``weather`` or ``digital``.
        small: five parameter sets, mildest first, for images of less than `SMALL` pixels.
        large: five parameter sets for larger images.
        apply: function (images float32 (n, c, h, w) in [0, 1], one parameter set, n generators) -> images of the same
            shape, which are clipped to [0, 1] afterwards. It must not write to its input, and image i must depend
            only on images[i] and generators[i].
        source: source of the definition and differences from it, one line.
    """

    name: str
    family: str
    small: tuple[Any, ...]
    large: tuple[Any, ...]
    apply: Apply
    source: str

    def parameters(self, severity: int, height: int, width: int) -> Any:
        """Return the parameter set for a severity (1 to 5) and an image size in pixels."""
        return (self.small if min(height, width) < SMALL else self.large)[severity - 1]
