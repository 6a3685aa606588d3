"""Recall per class or per group of samples, and the largest drop caused by compression.

Groups partition the samples by class, by an attribute, or by both. Samples of group -1 belong to no group. The recall
of a group is the share of its samples that the model gets right; if groups are classes, this is the usual recall.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.checking import checked
from leanfront.core.objectives.documents import plain
from leanfront.errors import EvaluationError, UsageError


@dataclass(frozen=True)
class WorstDrop:
    """The group with the largest drop in recall from the dense model to the candidate.

    Args:
        value: dense recall - recall of the group, a share; 0 or negative if no group's recall fell.
        low, high: interval of the largest drop among all groups, not of this group's drop; see `worst_class_drop`.
        group: index of the group; the first one in a tie.
        support: number of samples in the group.
        dense_recall, recall: recall of the dense model and of the candidate, shares.
        groups: number of groups with samples.
    """

    value: float
    low: float
    high: float
    group: int
    support: int
    dense_recall: float
    recall: float
    groups: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        found: dict[str, Any] = plain(self)
        return found


def class_support(groups: Tensor, count: int) -> Tensor:
    """Count the samples in each group.

    Args:
        groups: (N,) integers in -1..count-1; -1 is no group.
        count: number of groups G.

    Returns:
        (G,) int64.

    Raises:
        UsageError: groups are out of range or not integers.
    """
    groups = _groups(groups, count)
    return torch.bincount(groups[groups >= 0], minlength=count)


def group_recall(hits: Tensor, groups: Tensor, count: int) -> Tensor:
    """Compute the share of right samples in each group, for one or many models.

    Args:
        hits: (..., N) bool, whether the sample is right.
        groups: (N,) integers in -1..count-1; -1 is no group.
        count: number of groups G.

    Returns:
        (..., G) float64; NaN for a group without samples.

    Raises:
        UsageError: groups are out of range, not integers, or not one per sample.
    """
    groups = _groups(groups, count)
    if hits.shape[-1:] != groups.shape:
        raise UsageError(f"groups of shape {tuple(groups.shape)} do not fit {hits.shape[-1]} samples")
    chosen = groups >= 0
    sums = torch.zeros((*hits.shape[:-1], count), dtype=torch.float64)
    sums.index_add_(-1, groups[chosen], hits.detach().cpu()[..., chosen].double())
    # 0 / 0 is NaN.
    return sums / class_support(groups, count)


def worst_class_drop(
    logits: Tensor,
    labels: Tensor,
    dense: Tensor,
    groups: Tensor | None = None,
    count: int | None = None,
    confidence: float = 0.95,
) -> WorstDrop:
    """Compute the largest drop in recall over all classes or groups that have samples.

    The interval covers the largest drop in the population. The interval of the chosen group alone would be too high,
    since the worst group is partly chosen for its bad luck. Instead, every group gets a paired interval such that all
    hold together with the given confidence (Bonferroni). The largest drop then lies between the largest lower end and
    the largest upper end. Groups with few samples make the interval wide.

    Args:
        logits: (N, C) float logits of the candidate.
        labels: (N,) integers in 0..C-1.
        dense: (N, C) float logits of the dense model on the same samples.
        groups: (N,) integers in -1..count-1; the labels if None.
        count: number of groups; C if `groups` is None, else one more than the largest group.
        confidence: coverage of the interval, in (0, 1).

    Raises:
        EvaluationError: outputs or labels that cannot be measured, or no sample in any group.
        UsageError: groups that do not fit the samples, or a confidence out of range.

    Source: A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched proportions",
        2005: Wald's interval after adding 1/2 to each of the four cells.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie in (0, 1), not {confidence}")
    if dense.shape != logits.shape:
        raise EvaluationError(
            f"the dense model's outputs have shape {tuple(dense.shape)}, the candidate's {tuple(logits.shape)}"
        )
    logits, labels = checked(logits, labels)
    dense, _ = checked(dense, labels)
    groups, count = _partition(labels, logits.shape[1], groups, count)
    support = class_support(groups, count)
    present = support > 0
    tested = int(present.sum())
    if not tested:
        raise EvaluationError("no sample belongs to a group: there is no recall to compare")
    before, after = correct(dense, labels), correct(logits, labels)
    recalls = group_recall(torch.stack([before, after]), groups, count)
    drops = recalls[0] - recalls[1]
    worst = int(drops.nan_to_num(nan=-2.0).argmax())
    # argmax may return any of several equal values.
    worst = int((drops == drops[worst]).nonzero()[0])

    pairs = torch.stack([before & ~after, after & ~before])
    lost, won = (group_recall(pairs, groups, count) * support)[:, present] + 0.5
    n = support[present] + 2
    z = NormalDist().inv_cdf(1 - (1 - confidence) / (2 * tested))
    centre = (lost - won) / n
    half = z * (lost + won - (lost - won).square() / n).sqrt() / n
    return WorstDrop(
        value=float(drops[worst]),
        low=max(-1.0, float((centre - half).max())),
        high=min(1.0, float((centre + half).max())),
        group=worst,
        support=int(support[worst]),
        dense_recall=float(recalls[0, worst]),
        recall=float(recalls[1, worst]),
        groups=tested,
    )


def _partition(labels: Tensor, classes: int, groups: Tensor | None, count: int | None) -> tuple[Tensor, int]:
    """Return the groups and their number; without groups, the labels and the number of classes."""
    if groups is None:
        return labels, classes
    if groups.shape != labels.shape:
        raise UsageError(f"groups of shape {tuple(groups.shape)} do not fit {len(labels)} samples")
    found = count if count is not None else int(groups.max()) + 1
    return _groups(groups, found), found


def _groups(groups: Tensor, count: int) -> Tensor:
    groups = groups.detach().cpu()
    if groups.ndim != 1 or groups.is_floating_point() or groups.dtype == torch.bool:
        raise UsageError(
            f"groups must be integers of shape (samples,), not {groups.dtype} of shape {tuple(groups.shape)}"
        )
    if len(groups) and not -1 <= int(groups.min()) <= int(groups.max()) < count:
        raise UsageError(
            f"groups span {int(groups.min())}..{int(groups.max())}: they must lie in -1..{count - 1}, "
            f"where -1 is no group"
        )
    return groups.long()
