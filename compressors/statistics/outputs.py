"""Outputs of a module on a split, and which of them are correct."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leanfront.core.targets import Split
from leanfront.core.targets.memory_format import has_innermost, in_format
from leanfront.core.targets.pictures import Pictures

BATCH_ELEMENTS = 400_000
"""Number of input elements in a batch: 130 images of 32 x 32. Activations of larger batches leave the processor's
cache and need fresh pages: on ResNet-20, batches of 512 images are half as fast as batches of 128."""
LARGEST_BATCH, SMALLEST_BATCH = 512, 8


def batch_size(example_input: Tensor) -> int:
    """Return the number of samples per batch for inputs like the example."""
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, BATCH_ELEMENTS // max(1, example_input[0].numel())))


def outputs(
    module: nn.Module, data: Split | Pictures, size: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return outputs (n, classes) and labels (n,) of a whole split in its order, on the CPU in float32.

    Args:
        module: the model, in eval mode, on the device.
        data: the split.
        size: number of samples per batch.
        device: device of the module.
    """
    found, labels = [], []
    innermost = has_innermost(module)
    with torch.inference_mode():
        for inputs, truth in data.batches(size, device):
            found.append(module(in_format(inputs, innermost)).float().cpu())
            labels.append(truth.cpu())
    return torch.cat(found), torch.cat(labels)


def correct(logits: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """Return which samples have their label among the k largest logits.

    Equal logits are ranked by class number, lowest first, so that a tie never depends on the device and k = 1
    agrees with an argmax that returns the first maximum.

    Args:
        logits: (N, C) float, without NaN.
        labels: (N,) int64 in 0..C-1.
        k: at least 1.

    Returns:
        (N,) bool.
    """
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1], device=logits.device)[None, :] < labels[:, None]
    ahead = (logits > own) | ((logits == own) & before)
    return ahead.sum(dim=1) < k
