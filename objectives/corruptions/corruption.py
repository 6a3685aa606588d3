"""What a corruption is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 64
"""Images whose shorter side is below this many pixels take the parameters of CIFAR-10-C, others ImageNet-C's."""

Images = NDArray[np.float32]
Generators = Sequence[np.random.Generator]
Apply = Callable[[Images, Any, Generators], NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Corruption:
    """A way to damage images, in five severities.

    Args:
        name: what a user types; it enters the seeds.
        family: ``noise``, ``blur``, ``weather`` or ``digital``.
        small: five parameter sets, mildest first, for images of less than `SMALL` pixels.
        large: five for larger ones.
        apply: (images float32 (n, c, h, w) in [0, 1], one parameter set, n generators) -> images of that shape;
            what leaves [0, 1] is clipped afterwards. It may not write to the images, and image i may depend on
            nothing but images[i] and generators[i].
        source: where the definition comes from and what differs from it, one line.
    """

    name: str
    family: str
    small: tuple[Any, ...]
    large: tuple[Any, ...]
    apply: Apply
    source: str

    def parameters(self, severity: int, height: int, width: int) -> Any:
        """The parameter set for this severity (1 to 5) and size in pixels."""
        return (self.small if min(height, width) < SMALL else self.large)[severity - 1]
