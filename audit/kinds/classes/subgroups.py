"""Class impact for the values of an attribute, and along the long tail of class frequencies.

Source: S. Hooker et al., "Characterising bias in compressed models", arXiv 2010.03058 (attributes of CelebA), and
"What do compressed deep neural networks forget?", arXiv 1911.05248 (the long tail).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, spearmanr

from leanfront.core.audit.kinds.classes.class_impact import ALPHA, Centre, GroupImpact, Impact, group_impact
from leanfront.core.objectives.documents import plain
from leanfront.errors import UsageError

Integers = NDArray[np.int64]

FEWEST = 3
"""Least number of classes for a correlation."""

PARTS = ("tail", "middle", "head")


@dataclass(frozen=True)
class Groups:
    """Samples by the value of an attribute.

    Args:
        ids: (N,) number of the value; -1 if there is none (None or NaN).
        names: names of the values, by number.
    """

    ids: Integers
    names: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A third of the classes, by their frequency in the training data.

    Args:
        name: ``tail``, the rarest third, ``middle`` or ``head``.
        classes: names of the classes.
        share: their share of the training samples.
        dense_recall, recall: means over the classes; None without classes.
        absolute_points, normalised_points: means over the classes, percentage points; None without classes.
        n_significant, n_up, n_down: number of classes significant by p, and of those that gained and lost.
    """

    name: str
    classes: tuple[str, ...]
    share: float
    dense_recall: float | None
    recall: float | None
    absolute_points: float | None
    normalised_points: float | None
    n_significant: int
    n_up: int
    n_down: int


@dataclass(frozen=True)
class LongTail:
    """Whether rare classes lose more.

    Args:
        parts: tail, middle and head.
        spearman: rank correlation of log training frequency and normalised difference over the classes with
            samples, above 0 if rare classes lose more; None if undefined.
        p: two-sided p value by Student's t approximation, which is rough below ten classes; None like `spearman`.
        classes: number of classes in the correlation.
        reason: why there is no correlation, or None.
    """

    parts: tuple[Part, ...]
    spearman: float | None
    p: float | None
    classes: int
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        found: dict[str, Any] = plain(self)
        return found


def group_by(values: Iterable[Hashable]) -> Groups:
    """Number the values of an attribute, in sorted order if they have one.

    Args:
        values: (N,) values of any hashable type, also a tensor or an array. None and NaN count as missing.

    Raises:
        UsageError: a value is not hashable.
    """
    listed: list[Any] = values.tolist() if hasattr(values, "tolist") else list(values)
    cleaned = [None if isinstance(each, float) and math.isnan(each) else each for each in listed]
    try:
        distinct = {each for each in cleaned if each is not None}
    except TypeError as error:
        raise UsageError(f"an attribute needs one hashable value a sample: {error}") from error
    try:
        ordered = sorted(distinct)
    except TypeError:  # values of several types
        ordered = sorted(distinct, key=lambda each: (type(each).__name__, str(each)))
    numbers = {value: number for number, value in enumerate(ordered)}
    ids = np.array([-1 if each is None else numbers[each] for each in cleaned], dtype=np.int64)
    return Groups(ids, tuple(str(each) for each in ordered))


def crossed(groups: Groups, labels: ArrayLike, classes: Sequence[str]) -> Groups:
    """Split each group by class.

    Args:
        groups: groups of N samples.
        labels: (N,) integers in 0..C-1.
        classes: names of the C classes.

    Returns:
        Groups named ``value / class``, in the order of the values; a sample without a value has no group.

    Raises:
        UsageError: labels do not fit.
    """
    truth = np.asarray(labels)
    if truth.shape != groups.ids.shape or not np.issubdtype(truth.dtype, np.integer):
        raise UsageError(
            f"labels must be integers of shape {groups.ids.shape}, not {truth.dtype} of shape {truth.shape}"
        )
    if len(truth) and not 0 <= int(truth.min()) <= int(truth.max()) < len(classes):
        raise UsageError(f"labels span {truth.min()}..{truth.max()}, but there are {len(classes)} classes")
    ids = np.where(groups.ids < 0, -1, groups.ids * len(classes) + truth)
    names = tuple(f"{value} / {label}" for value in groups.names for label in classes)
    return Groups(ids.astype(np.int64), names)


def subgroups(
    dense_hits: ArrayLike,
    hits: ArrayLike,
    attributes: Mapping[str, Iterable[Hashable]],
    *,
    labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    alpha: float = ALPHA,
    centre: Centre = "population",
) -> dict[str, Impact]:
    """Test class impact for each value of each attribute; q-values are among the values of one attribute.

    Args:
        dense_hits: (K, N) bool, whether each of K >= 2 dense models is right.
        hits: (L, N) bool, whether each of L >= 2 compressed models is right.
        attributes: name -> (N,) values.
        labels: (N,) integers; with `classes`, every attribute is also split by class, in an additional entry
            ``attribute x class``.
        classes: names of the classes.
        alpha: level of the tests.
        centre: see `group_impact`.

    Raises:
        UsageError: arrays do not fit, or there are fewer than two models.
    """
    if (labels is None) != (classes is None):
        raise UsageError("to split attributes by class, give both labels and the names of the classes")
    samples = np.asarray(hits).shape[-1]
    found = {}
    for name, values in attributes.items():
        groups = group_by(values)
        if len(groups.ids) != samples:
            raise UsageError(f"attribute '{name}' has {len(groups.ids)} values for {samples} samples")
        chosen = {name: groups}
        if labels is not None and classes is not None:
            chosen[f"{name} x class"] = crossed(groups, labels, classes)
        for key, each in chosen.items():
            found[key] = group_impact(dense_hits, hits, each.ids, each.names, alpha=alpha, centre=centre)
    return found


def long_tail(impact: Impact, training_labels: ArrayLike) -> LongTail:
    """Relate the effect of compression on each class to the number of its training samples.

    Classes without test samples are left out. Thirds are by rank, and classes of equal frequency stay together at
    their mean rank, so a third may be larger than another, or empty.

    Args:
        impact: impact on all C classes, in order.
        training_labels: (M,) integers in 0..C-1.

    Raises:
        UsageError: labels do not fit.
    """
    labels = np.asarray(training_labels)
    total = len(impact.groups)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(
            f"training labels must be integers of shape (samples,), not {labels.dtype} of shape {labels.shape}"
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < total:
        raise UsageError(
            f"training labels span {labels.min()}..{labels.max()}, but there are {total} classes"
        )
    counts = np.bincount(labels, minlength=total)
    places = [index for index, each in enumerate(impact.groups) if each.normalised_points is not None]
    frequency = counts[places]
    changes = np.array([impact.groups[index].normalised_points for index in places], dtype=np.float64)
    # Mean rank of classes of equal frequency, in (0, 1).
    position = (rankdata(frequency) - 0.5) / max(1, len(places))
    third = np.searchsorted([1 / 3, 2 / 3], position, side="right")
    parts = tuple(
        _part(
            name,
            [impact.groups[index] for index, own in zip(places, third, strict=True) if own == number],
            float(frequency[third == number].sum() / len(labels)),
        )
        for number, name in enumerate(PARTS)
    )
    reason = None
    if len(places) < FEWEST:
        reason = f"a correlation needs at least {FEWEST} classes with samples, not {len(places)}"
    elif np.ptp(frequency) == 0:
        reason = f"all classes are equally frequent in training: {int(frequency[0])} samples each"
    elif np.ptp(changes) == 0:
        reason = "all classes changed alike"
    if reason is not None:
        return LongTail(parts, None, None, len(places), reason)
    # Ranks of counts are ranks of their logarithms, and exist for a class without training samples.
    found = spearmanr(frequency, changes)
    return LongTail(parts, float(found.statistic), float(found.pvalue), len(places), None)


def _part(name: str, groups: Sequence[GroupImpact], share: float) -> Part:
    def mean(field: str) -> float | None:
        return float(np.mean([getattr(each, field) for each in groups])) if groups else None

    significant = [each for each in groups if each.status == "significant"]
    return Part(
        name=name,
        classes=tuple(each.name for each in groups),
        share=share,
        dense_recall=mean("dense_recall"),
        recall=mean("recall"),
        absolute_points=mean("absolute_points"),
        normalised_points=mean("normalised_points"),
        n_significant=len(significant),
        n_up=sum(each.direction == "up" for each in significant),
        n_down=sum(each.direction == "down" for each in significant),
    )
