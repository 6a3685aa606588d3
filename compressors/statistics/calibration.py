"""Calibration inputs of one target, loaded once."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from leanfront.core.targets import Target
from leanfront.core.targets.memory_format import in_format

SAMPLES = 512
BATCH = 256


class Calibration:
    """The calibration samples on which statistics are computed.

    Args:
        target: target with the calibration split.
        samples: number of samples, spread evenly over the split.
        device: device of the inputs.
    """

    def __init__(self, target: Target, samples: int = SAMPLES, device: torch.device | str = "cpu") -> None:
        self.samples = min(samples, len(target.calibration))
        self.device = torch.device(device)
        self._target = target

    @cached_property
    def batches(self) -> list[Tensor]:
        """Inputs (n, ...) in batches of nearly equal size, as batch-norm statistics weigh batches equally.

        Images have the memory format that the target allows.
        """
        split = self._target.calibration
        positions = torch.linspace(0, len(split) - 1, self.samples).round().long().tolist()
        size = math.ceil(self.samples / math.ceil(self.samples / BATCH))
        batches = split.subset(positions).batches(size, self.device)
        return [in_format(inputs, self._target.channels_last) for inputs, _ in batches]

    def spread(self, images: int, elements: int, fewest: int) -> Tensor:
        """Return inputs spread evenly over the samples, as one batch.

        Args:
            images: maximum number of inputs.
            elements: maximum number of input elements.
            fewest: minimum number of inputs, if there are so many samples; it overrides `elements`.
        """
        whole = torch.cat(self.batches)
        count = min(len(whole), images, max(fewest, elements // max(1, whole[0].numel())))
        chosen = whole[torch.linspace(0, len(whole) - 1, count).round().long()]
        return in_format(chosen, self._target.channels_last)
