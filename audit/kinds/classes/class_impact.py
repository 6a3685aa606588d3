"""Class impact: the effect of compression on each class beyond that on the model, by Welch's test.

Two populations, dense and compressed, give two samples of recalls for each class. The loss of the whole model is
subtracted first, so the rest shows whether the class lost more or less than the model.

Source: S. Hooker et al., "What do compressed deep neural networks forget?", arXiv 1911.05248, section 2.1, and
the signs of their published code.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import false_discovery_control, nct, ttest_ind_from_stats
from scipy.stats import t as student
from torch import Tensor

from leanfront.core.objectives.classes import class_support, group_recall
from leanfront.core.objectives.documents import plain
from leanfront.errors import UsageError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

Centre = Literal["population", "member"]

ALPHA = 0.05
POWER = 0.8

SAME = 1e-12
"""Shares closer than this differ only by rounding, since recalls are ratios of counts."""


@dataclass(frozen=True)
class GroupImpact:
    """The effect of compression on one class, or one group of samples.

    Args:
        name: name of the class or group.
        support: number of its samples.
        dense_recall, recall: means over the populations, shares; None without samples.
        absolute_points: 100 (recall - dense recall), percentage points; below 0 if recall fell.
        normalised_points: `absolute_points` minus the change of top-1; below 0 if the class lost more, or gained
            less, than the model as a whole.
        t: Welch's statistic of dense against compressed, above 0 if the class lost, as in the published code;
            None unless the status is ``significant`` or ``not``.
        p: two-sided p value; None like t.
        q: q value by Benjamini and Hochberg, among the tested groups of this comparison; None like t.
        direction: ``up`` or ``down``, the sign of `normalised_points`; ``none`` at 0 or without samples.
        status: ``significant`` (p <= alpha), ``not``, ``undetermined`` (neither population varies, and they
            agree), ``degenerate`` (neither varies, but they differ, so there is no test) or ``excluded``
            (no samples).
    """

    name: str
    support: int
    dense_recall: float | None
    recall: float | None
    absolute_points: float | None
    normalised_points: float | None
    t: float | None
    p: float | None
    q: float | None
    direction: str
    status: str

    @property
    def tested(self) -> bool:
        """Whether there is a t, a p and a q."""
        return self.p is not None


@dataclass(frozen=True)
class Impact:
    """The effect of compression on every class, or group.

    Args:
        groups: one entry per group, in order.
        dense_members, members: number of models in each population.
        dense_top1, top1: mean accuracy of each population on all samples, shares.
        alpha: level of p and q.
        centre: value subtracted from each recall, see `group_impact`.
        detectable: the effect found with 80% power by the smaller population, in standard deviations between models.
    """

    groups: tuple[GroupImpact, ...]
    dense_members: int
    members: int
    dense_top1: float
    top1: float
    alpha: float
    centre: Centre
    detectable: float

    @property
    def excluded(self) -> tuple[str, ...]:
        """Names of the groups without samples."""
        return tuple(each.name for each in self.groups if each.status == "excluded")

    def found(self, *, corrected: bool = False) -> tuple[GroupImpact, ...]:
        """Return the significant groups, with p <= alpha, or q <= alpha if corrected."""
        if corrected:
            return tuple(each for each in self.groups if each.q is not None and each.q <= self.alpha)
        return tuple(each for each in self.groups if each.status == "significant")

    def counts(self, *, corrected: bool = False) -> dict[str, Any]:
        """Count the significant groups, those that gained and lost, with their mean points."""
        found = self.found(corrected=corrected)
        points = {
            way: [each.normalised_points or 0.0 for each in found if each.direction == way]
            for way in ("up", "down")
        }
        return {
            "n_significant": len(found),
            "n_up": len(points["up"]),
            "n_down": len(points["down"]),
            "mean_gain_points": float(np.mean(points["up"])) if points["up"] else None,
            "mean_loss_points": float(np.mean(points["down"])) if points["down"] else None,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the document: a summary, and one object per group.

        ``expected_by_chance`` is the number of tests that would be significant by p without any effect.
        """
        statuses = Counter(each.status for each in self.groups)
        tested = sum(each.tested for each in self.groups)
        return {
            "dense_members": self.dense_members,
            "members": self.members,
            "dense_top1": self.dense_top1,
            "top1": self.top1,
            "alpha": self.alpha,
            "centre": self.centre,
            "detectable_effect": plain(self.detectable),
            "tested": tested,
            "expected_by_chance": self.alpha * tested,
            "by_p": self.counts(),
            "by_q": self.counts(corrected=True),
            "undetermined": statuses["undetermined"],
            "degenerate": statuses["degenerate"],
            "excluded": list(self.excluded),
            "groups": plain(self.groups),
        }


def class_impact(
    dense: ArrayLike,
    compressed: ArrayLike,
    labels: ArrayLike,
    classes: int | Sequence[str],
    *,
    alpha: float = ALPHA,
    centre: Centre = "population",
) -> Impact:
    """Test for each class whether compression changed its recall differently from the model's accuracy.

    Args:
        dense: (K, N) integers, predictions of K >= 2 dense models.
        compressed: (L, N) integers, predictions of L >= 2 compressed ones.
        labels: (N,) integers in 0..C-1.
        classes: C, or the names of the classes.
        alpha: level of the tests, in (0, 1).
        centre: see `group_impact`.

    Raises:
        UsageError: arrays do not fit, there are fewer than two models, or labels are out of range.
    """
    names = [str(each) for each in (range(classes) if isinstance(classes, int) else classes)]
    truth = np.asarray(labels)
    if truth.size and int(truth.min()) < 0:
        raise UsageError(f"labels must not be negative, but the smallest is {int(truth.min())}")
    return group_impact(
        _right(dense, truth), _right(compressed, truth), truth, names, alpha=alpha, centre=centre
    )


def group_impact(
    dense_hits: ArrayLike,
    hits: ArrayLike,
    groups: ArrayLike,
    names: Sequence[str],
    *,
    alpha: float = ALPHA,
    centre: Centre = "population",
) -> Impact:
    """Test as `class_impact` does, for any groups of samples.

    Args:
        dense_hits: (K, N) bool, whether each of K >= 2 dense models is right.
        hits: (L, N) bool, whether each of L >= 2 compressed models is right.
        groups: (N,) integers; -1 for a sample of no group, which still counts in top-1.
        names: names of the groups 0..len(names)-1.
        alpha: level of the tests, in (0, 1).
        centre: value subtracted from a model's recall before the test: ``population``, the mean top-1 of its
            population, as in the published code; or ``member``, the model's own top-1, which also removes
            differences between seeds. Means, and so differences and directions, are the same.

    Raises:
        UsageError: arrays do not fit, there are fewer than two models, or groups are out of range.
    """
    before, after, places = np.asarray(dense_hits), np.asarray(hits), np.asarray(groups)
    for name, found in (("dense", before), ("compressed", after)):
        if found.dtype != np.bool_ or found.ndim != 2 or not found.size:
            raise UsageError(
                f"{name} hits must be bool of shape (models, samples), not {found.dtype} of shape {found.shape}"
            )
        if len(found) < 2:
            raise UsageError(
                f"Welch's test needs two or more {name} models, not {len(found)}: train more, or use another audit"
            )
    if before.shape[1] != after.shape[1]:
        raise UsageError(
            f"both populations must answer the same samples, not {before.shape[1]} and {after.shape[1]}"
        )
    if not 0 < alpha < 1:
        raise UsageError(f"alpha must lie in (0, 1), not {alpha}")
    if centre not in ("population", "member"):
        raise UsageError(f"unknown centre {centre!r}; known: population, member")
    shares = [_shares(each, places, len(names)) for each in (before, after)]
    top1 = [each.mean(axis=1) for each in (before, after)]
    means = [np.mean(each, axis=0) for each in shares]
    accuracy = [float(each.mean()) for each in top1]
    absolute = means[1] - means[0]
    normalised = absolute - (accuracy[1] - accuracy[0])
    offsets = [
        own[:, None] if centre == "member" else level for own, level in zip(top1, accuracy, strict=True)
    ]
    x = [share - offset for share, offset in zip(shares, offsets, strict=True)]
    t, p, q, varies = _welch(x[0], x[1])
    support = class_support(_tensor(places), len(names)).numpy()
    entries = []
    for index, name in enumerate(names):
        if not support[index]:
            entries.append(GroupImpact(name, 0, None, None, None, None, None, None, None, "none", "excluded"))
            continue
        change = float(normalised[index])
        even = abs(change) <= SAME
        if varies[index]:
            status = "significant" if p[index] <= alpha else "not"
        else:
            status = "undetermined" if even else "degenerate"
        entries.append(
            GroupImpact(
                name=name,
                support=int(support[index]),
                dense_recall=float(means[0][index]),
                recall=float(means[1][index]),
                absolute_points=100 * float(absolute[index]),
                normalised_points=0.0 if even else 100 * change,
                t=float(t[index]) if varies[index] else None,
                p=float(p[index]) if varies[index] else None,
                q=float(q[index]) if varies[index] else None,
                direction="none" if even else "up" if change > 0 else "down",
                status=status,
            )
        )
    smaller = min(len(before), len(after))
    return Impact(
        groups=tuple(entries),
        dense_members=len(before),
        members=len(after),
        dense_top1=accuracy[0],
        top1=accuracy[1],
        alpha=alpha,
        centre=centre,
        detectable=detectable_effect(smaller, POWER, alpha),
    )


@lru_cache(maxsize=64)
def detectable_effect(k: int, power: float = POWER, alpha: float = ALPHA) -> float:
    """Compute the difference of means that a two-sample t-test finds with the given probability.

    It is the d that solves P(|T| > t(1 - alpha/2, 2k - 2)) = power, with T noncentral t of d sqrt(k / 2).

    Args:
        k: models in each of the two populations, at least 2.
        power: probability in (alpha, 1).
        alpha: two-sided level, in (0, 1).

    Returns:
        d, in standard deviations between models.

    Raises:
        UsageError: an argument is out of range.

    Source: J. Cohen, "Statistical power analysis for the behavioral sciences", 1988, section 2.
    """
    if k < 2 or not 0 < alpha < power < 1:
        raise UsageError(f"need k >= 2 and 0 < alpha < power < 1, not k={k}, power={power}, alpha={alpha}")
    freedom = 2 * k - 2
    critical = float(student.isf(alpha / 2, freedom))

    def excess(effect: float) -> float:
        centre = effect * math.sqrt(k / 2)
        # The far tail is negligible at such powers, and scipy's is NaN if it underflows.
        return float(nct.sf(critical, freedom, centre)) - power

    high = 1.0
    while excess(high) < 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-10))


def _welch(first: Floats, second: Floats) -> tuple[Floats, Floats, Floats, Booleans]:
    """Return t, p, q of each column, and which columns were tested: those in which a population varies."""
    varies = np.zeros(first.shape[1], dtype=np.bool_)
    for each in (first, second):
        varies |= np.ptp(each, axis=0) > SAME  # false for NaN
    t, p, q = (np.full(first.shape[1], np.nan) for _ in range(3))
    if varies.any():
        moments: list[Any] = []
        for each in (first[:, varies], second[:, varies]):
            moments += [each.mean(axis=0), each.std(axis=0, ddof=1), len(each)]
        t[varies], p[varies] = ttest_ind_from_stats(*moments, equal_var=False)
        q[varies] = false_discovery_control(p[varies])
    return t, p, q, varies


def _right(predictions: ArrayLike, truth: NDArray[Any]) -> Booleans:
    found = np.asarray(predictions)
    for name, each in (("predictions", found), ("labels", truth)):
        if not np.issubdtype(each.dtype, np.integer):
            raise UsageError(f"{name} must be integers, the numbers of classes, not {each.dtype}")
    if found.ndim != 2 or truth.shape != found.shape[1:]:
        raise UsageError(
            f"predictions must have shape (models, samples) and labels (samples,), not {found.shape} and "
            f"{truth.shape}"
        )
    right: Booleans = found == truth
    return right


def _shares(hits: Booleans, groups: NDArray[Any], count: int) -> Floats:
    found: Floats = group_recall(_tensor(hits), _tensor(groups), count).numpy()
    return found


def _tensor(values: NDArray[Any]) -> Tensor:
    """Copy an array, since stored ones may be read-only or of types that torch supports badly."""
    wide = np.int64 if np.issubdtype(values.dtype, np.integer) else values.dtype
    return torch.from_numpy(np.array(values, dtype=wide, order="C"))
