"""Metrics of what compression did beside the loss of accuracy: calibration, classes, exemplars, corruptions, flips.

The first three are computed from the outputs that accuracy is, and of every candidate; the others need outputs on
images of their own (`leanfront.core.objectives.views`), and are of those candidates for which somebody asks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.calibration import expected_calibration_error
from leanfront.core.objectives.classes import worst_class_drop
from leanfront.core.objectives.metrics import DENSE, Estimate, Metric, register, wilson
from leanfront.core.objectives.robust import first_answers, flip_rate, mean_corruption_error
from leanfront.core.objectives.views import (
    CORRUPTED,
    CORRUPTED_SAMPLES,
    NOISY,
    NOISY_SAMPLES,
    SEVERITIES,
    SIGMA,
    Answers,
)


def _ece(logits: Tensor, labels: Tensor) -> Estimate:
    return expected_calibration_error(logits, labels), None, None


def _worst_class_drop(logits: Tensor, labels: Tensor, dense: Tensor) -> Estimate:
    found = worst_class_drop(logits, labels, dense)
    return found.value, found.low, found.high


def _pie_rate(logits: Tensor, labels: Tensor, dense: Tensor) -> Estimate:
    changed = int((~correct(logits, first_answers(dense))).sum())
    return (changed / len(logits), *wilson(changed, len(logits)))


def _mce(logits: Tensor, labels: Tensor, corrupted: Answers) -> Estimate:
    corruptions = list(dict.fromkeys(way.rpartition("/")[0] for way in corrupted.logits))

    def right(found: dict[str, Tensor]) -> Tensor:
        return torch.stack(
            [
                torch.stack([correct(found[f"{name}/{level}"], corrupted.labels) for level in SEVERITIES])
                for name in corruptions
            ]
        )

    return mean_corruption_error(right(dict(corrupted.logits)), right(dict(corrupted.dense)))


def _flip_rate(logits: Tensor, labels: Tensor, noisy: Answers) -> Estimate:
    return flip_rate(noisy.clean, torch.stack(list(noisy.logits.values())))


register(
    Metric(
        name="ece",
        unit="1",
        maximise=False,
        compute=_ece,
        chance=lambda classes: 1.0,
        source="expected calibration error, 15 equal-width bins (Guo et al. 2017)",
    )
)
register(
    Metric(
        name="worst_class_drop",
        unit="1",
        maximise=False,
        compute=_worst_class_drop,
        chance=lambda classes: 1.0,
        source="largest fall of a class's recall from the dense model's; 95% interval over all classes (Bonferroni)",
        needs=(DENSE,),
    )
)
register(
    Metric(
        name="pie_rate",
        unit="1",
        maximise=False,
        compute=_pie_rate,
        chance=lambda classes: 1 - 1 / classes,
        source="share of samples answered otherwise than by the dense model (Hooker et al. 2019, K = 1); 95% Wilson "
        "interval",
        needs=(DENSE,),
    )
)
register(
    Metric(
        name="mce",
        unit="1",
        maximise=False,
        compute=_mce,
        # Twice the dense model's errors: what a guess has depends on how hard the images are.
        chance=lambda classes: 2.0,
        source=f"mean corruption error relative to the dense model, 15 C-like corruptions at severities "
        f"{', '.join(map(str, SEVERITIES))} of up to {CORRUPTED_SAMPLES} samples (Hendrycks and Dietterich 2019); "
        "95% bootstrap interval",
        needs=(CORRUPTED,),
    )
)
register(
    Metric(
        name="flip_rate",
        unit="1",
        maximise=False,
        compute=_flip_rate,
        chance=lambda classes: 1 - 1 / classes,
        source=f"share of answers changed by Gaussian noise of {SIGMA} on pixels in [0, 1], up to {NOISY_SAMPLES} "
        "samples; 95% Wilson interval",
        needs=(NOISY,),
    )
)
