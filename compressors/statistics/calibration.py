"""Calibration inputs of one target, loaded once."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor, nn

from leanfront.core.targets import Target

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
        """Inputs (n, ...) in batches of nearly equal size, as batch-norm statistics weigh batches equally."""
        split = self._target.calibration
        positions = torch.linspace(0, len(split) - 1, self.samples).round().long().tolist()
        size = math.ceil(self.samples / math.ceil(self.samples / BATCH))
        return [channels_last(inputs) for inputs, _ in split.subset(positions).batches(size, self.device)]

    def spread(self, images: int, elements: int, fewest: int) -> Tensor:
        """Return inputs spread evenly over the samples, as one batch.

        Args:
            images: maximum number of inputs.
            elements: maximum number of input elements.
            fewest: minimum number of inputs, if there are so many samples; it overrides `elements`.
        """
        whole = torch.cat(self.batches)
        count = min(len(whole), images, max(fewest, elements // max(1, whole[0].numel())))
        return channels_last(whole[torch.linspace(0, len(whole) - 1, count).round().long()])


def channels_last(inputs: Tensor) -> Tensor:
    """Return images (n, c, h, w) with channels innermost in memory; other inputs unchanged."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


def innermost_channels(module: nn.Module) -> nn.Module:
    """Return the module with channels innermost in memory, where convolutions run about a third faster.

    Three-dimensional convolutions have another memory format; a module that has any is returned unchanged.
    """
    if any(tensor.dim() == 5 for tensor in (*module.parameters(), *module.buffers())):
        return module
    return module.to(memory_format=torch.channels_last)
