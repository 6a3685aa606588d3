"""Comparison of the dense model's accuracy with guessing."""

from __future__ import annotations

import torch

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.targets import Split, Target

LOOKED_AT = 512
"""Largest number of validation samples that a quick look at a model runs."""
STEP = 64
"""Number of samples after which a quick look may end."""
CLEAR = 4.0
"""Standard errors by which the accuracy lies above guessing when a quick look ends."""


def largest_share(split: Split) -> float:
    """Return the share of the most frequent class: the accuracy of always guessing it, in [0, 1]."""
    return int(torch.bincount(split.labels).max()) / len(split)


def chance_remark(split: Split, accuracy: float, part: Split | None = None) -> str | None:
    """Return a sentence if an accuracy is no better than guessing, or else None.

    Args:
        split: split on which the model was measured.
        accuracy: accuracy of the dense model, in [0, 1].
        part: the part of it that was measured, if not all.
    """
    share = largest_share(part or split)
    if accuracy > share or share == accuracy == 1:
        return None
    where = split.name if part is None else f"{len(part):,} samples of {split.name}"
    return (
        f"WARNING: the dense model's accuracy on {where} is {accuracy:.4f}, no better than guessing "
        f"the most frequent class every time ({share:.4f}). Usual causes: the classes are in another order than in "
        "training; the inputs are not normalised as in training (mean, deviation, range, RGB or BGR, size); this is "
        "another split or data set; the weights were not loaded"
    )


def quick_look(target: Target) -> str | None:
    """Run the dense model on some validation samples, and return a sentence if it is no better than guessing.

    The samples lie evenly over the split. The run ends when the accuracy is clearly above guessing, which takes one
    or two batches of a trained model.

    Raises:
        TargetError: a sample cannot be read.
    """
    split = target.validation
    count = min(len(split), LOOKED_AT)
    share = largest_share(split)
    # A permutation, so that every batch lies over the whole split; it is often sorted by class.
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    places = order * len(split) // count
    right = seen = 0
    for start in range(0, count, STEP):
        inputs, labels = split.subset(places[start : start + STEP]).tensors()
        with torch.inference_mode():
            right += int(correct(target.model(inputs).float(), labels).sum())
        seen += len(labels)
        error = (share * (1 - share) / seen) ** 0.5
        if right / seen > share + CLEAR * error:
            return None
    return chance_remark(split, right / seen, None if seen == len(split) else split.subset(places))
