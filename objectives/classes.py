"""Who pays for compression: recall per class, or per group of samples, and the class that lost most.

A group is any partition of the samples: by class, by an attribute, by both. Samples of group -1 belong to none.
The recall of a group is the share of its samples that the model gets right; of a class's group it is recall.
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
    """The group whose recall fell most from the dense model's to the candidate's.

    Args:
        value: dense recall - recall of that group, a share; 0 or negative if no group's recall fell.
        low, high: interval of the largest drop among all groups, not of this group's; see `worst_class_drop`.
        group: which; the first of equal ones.
        support: its number of samples.
        dense_recall, recall: shares.
        groups: number of groups with samples, among which this one is the worst.
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
        """The fields, plain."""
        found: dict[str, Any] = plain(self)
        return found


def class_support(groups: Tensor, count: int) -> Tensor:
    """Number of samples in each group.

    Args:
        groups: (N,) integers in -1..count-1; -1 is no group.
        count: number of groups G.

    Returns:
        (G,) int64.

    Raises:
        UsageError: groups out of range, or no integers.
    """
    groups = _groups(groups, count)
    return torch.bincount(groups[groups >= 0], minlength=count)


def group_recall(hits: Tensor, groups: Tensor, count: int) -> Tensor:
    """Share of each group's samples that is right, of one model or of many.

    Args:
        hits: (..., N) bool, whether the sample is right.
        groups: (N,) integers in -1..count-1; -1 is no group.
        count: number of groups G.

    Returns:
        (..., G) float64; NaN for a group without samples.

    Raises:
        UsageError: groups out of range, no integers, or not one a sample.
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
    """The largest fall in recall over all classes, or groups, with samples.

    The interval is of the largest drop of the population. The worst of many is chosen for its bad luck too, so
    the plain interval of the chosen group would lie too high. Here every group has a paired interval, together
    they hold with the confidence asked for (Bonferroni), and the largest drop then lies between the largest of
    their lower and the largest of their upper ends. A group of few samples makes it wide.

    Args:
        logits: (N, C) float, of the candidate.
        labels: (N,) integers in 0..C-1.
        dense: (N, C) float, of the dense model on the same samples.
        groups: (N,) integers in -1..count-1; the labels if None.
        count: number of groups; C if `groups` is None, else one more than the largest group.
        confidence: coverage of the interval, in (0, 1).

    Raises:
        EvaluationError: outputs or labels that cannot be measured, or no sample in a group.
        UsageError: groups that do not fit, or a confidence out of range.

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
        raise EvaluationError("no sample belongs to a group: nothing can have dropped")
    before, after = correct(dense, labels), correct(logits, labels)
    recalls = group_recall(torch.stack([before, after]), groups, count)
    drops = recalls[0] - recalls[1]
    worst = int(drops.nan_to_num(nan=-2.0).argmax())
    # argmax may return any of equal ones.
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
    """Groups and their number, by class where none are given."""
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
