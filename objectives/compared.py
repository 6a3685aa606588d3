"""Metrics of effects of compression other than accuracy: calibration, classes, exemplars, corruptions, flips.

The first three use the same outputs as accuracy and are measured on every candidate. The others need outputs on other
images (`leanfront.core.objectives.views`) and are measured on request.
"""

from __future__ import annotations

import torch
from torch import Tensor

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.calibration import expected_calibration_error
from leanfront.core.objectives.classes import worst_class_drop
from leanfront.core.objectives.metrics import Estimate, wilson
from leanfront.core.objectives.robust import first_answers, flip_rate, mean_corruption_error
from leanfront.core.objectives.views import SEVERITIES, Answers


def ece(logits: Tensor, labels: Tensor) -> Estimate:
    """Compute the expected calibration error."""
    return expected_calibration_error(logits, labels), None, None


def worst_drop(logits: Tensor, labels: Tensor, dense: Tensor) -> Estimate:
    """Compute the largest drop of a class's recall from the dense model to the candidate."""
    found = worst_class_drop(logits, labels, dense)
    return found.value, found.low, found.high


def pie_rate(logits: Tensor, labels: Tensor, dense: Tensor) -> Estimate:
    """Compute the share of samples on which the answer differs from the dense model's."""
    changed = int((~correct(logits, first_answers(dense))).sum())
    return (changed / len(logits), *wilson(changed, len(logits)))


def mce(logits: Tensor, labels: Tensor, corrupted: Answers) -> Estimate:
    """Compute the mean corruption error relative to the dense model."""
    corruptions = list(dict.fromkeys(way.rpartition("/")[0] for way in corrupted.logits))

    def right(found: dict[str, Tensor]) -> Tensor:
        return torch.stack(
            [
                torch.stack([correct(found[f"{name}/{level}"], corrupted.labels) for level in SEVERITIES])
                for name in corruptions
            ]
        )

    return mean_corruption_error(right(dict(corrupted.logits)), right(dict(corrupted.dense)))


def changed_answers(logits: Tensor, labels: Tensor, noisy: Answers) -> Estimate:
    """Compute the share of answers that noise changes."""
    return flip_rate(noisy.clean, torch.stack(list(noisy.logits.values())))
