"""Dominance and hypervolume, computed by moocore.

Points are rows of an (n, m) array in minimisation form: smaller is better in each of the m columns. NaN is always
rejected, since it compares false with everything and would appear nondominated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leanfront.core.objectives.objective import Objective

BLOCK = 2**22
"""Number of comparisons that `nondominated` with `weak` holds in memory at once."""


def dominates(a: ArrayLike, b: ArrayLike, /) -> bool:
    """Whether `a` is no worse than `b` in every objective and better in at least one.

    Args:
        a, b: (m,) vectors in minimisation form.

    Raises:
        ValueError: NaN, or different lengths.
    """
    left, right = _pair(a, b)
    return bool((left <= right).all() and (left < right).any())


def strictly_better(a: ArrayLike, b: ArrayLike, /) -> bool:
    """Whether `a` is better than `b` in every objective.

    Args:
        a, b: (m,) vectors in minimisation form.

    Raises:
        ValueError: NaN, or different lengths.
    """
    left, right = _pair(a, b)
    return bool((left < right).all())


def nondominated(points: ArrayLike, /, *, weak: bool = False) -> NDArray[np.bool_]:
    """Find the points that no other point dominates. All exact duplicates of a nondominated point are kept.

    Args:
        points: (n, m) array in minimisation form; n may be 0.
        weak: drop a point only if another one is better in *every* objective.

    Returns:
        (n,) mask.

    Raises:
        ValueError: the array contains NaN or is not two-dimensional.
    """
    array = _points(points)
    if not len(array):
        return np.zeros(0, dtype=np.bool_)
    if np.isinf(array).any():
        # moocore 0.3.2 uses infinities as sentinels: with 3 objectives it is wrong for +inf and crashes for -inf.
        # Dominance only compares within columns, so ranks can replace the values.
        ranks = [np.unique(column, return_inverse=True)[1] for column in array.T]
        array = np.column_stack(ranks).astype(np.float64)
    # Imported late, since most budget queries compare no vectors.
    import moocore

    mask: NDArray[np.bool_] = np.asarray(moocore.is_nondominated(array, keep_weakly=True), dtype=np.bool_)
    if not weak:
        return mask
    # If q is better than a point everywhere, so is the nondominated point that equals or dominates q. So it is
    # enough to compare with the front.
    front = np.unique(array[mask], axis=0)
    rows = max(1, BLOCK // front.size)
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        better = np.all(front[None, :, :] < block[:, None, :], axis=2)
        mask[start : start + rows] = ~np.any(better, axis=1)
    return mask


def hypervolume(points: ArrayLike, /, reference: ArrayLike) -> float:
    """Compute the volume of the union of the boxes between each point and a reference.

    Args:
        points: (n, m) array in minimisation form; n may be 0.
        reference: (m,) vector in minimisation form. A point that is not below it in every objective contributes 0.

    Returns:
        The Lebesgue measure; 0.0 without points.

    Raises:
        ValueError: NaN, an infinite reference, a point at minus infinity, or shapes that do not fit.

    Source: Zitzler & Thiele 1998; computed by moocore.
    """
    corner = np.asarray(reference, dtype=np.float64)
    if corner.ndim != 1 or not np.isfinite(corner).all():
        raise ValueError(f"the reference must be a vector of finite numbers, not {reference!r}")
    array = _points(points)
    if not len(array):
        return 0.0
    if array.shape[1] != len(corner):
        raise ValueError(f"points have {array.shape[1]} objectives but the reference has {len(corner)}")
    inside = array[np.all(array < corner, axis=1)]
    if not len(inside):
        return 0.0
    if np.isneginf(inside).any():
        raise ValueError("a point at minus infinity spans an infinite volume")
    import moocore

    return float(moocore.hypervolume(inside, ref=corner))


def normalised_hypervolume(
    values: ArrayLike, objectives: Sequence[Objective], reference: Mapping[str, float], log2: bool
) -> float:
    """Compute the hypervolume of gains over the reference, which is comparable between models.

    The gain of a maximised metric is value - reference, and of a minimised one reference - value, both in natural
    units. The gain of a cost is 1 - cost / reference, in [0, 1]; with `log2` it is log2(reference / cost), the number
    of halvings, since costs span decades. A point without a gain in every objective contributes 0.

    Args:
        values: (n, m) array in natural units, columns in the objectives' order; n may be 0.
        objectives: m objectives.
        reference: objective name -> value in natural units, as returned by `leanfront.core.objectives.reference`.
        log2: count the gain of costs in halvings.

    Returns:
        The volume in the product of the gains' units.

    Raises:
        ValueError: NaN, shapes that do not fit, a missing reference, a non-positive reference of a cost, or a
            negative cost (with `log2`, also zero).
    """
    missing = [objective.name for objective in objectives if objective.name not in reference]
    if missing:
        raise ValueError(
            f"the reference lacks {', '.join(missing)}; it has {', '.join(reference) or 'nothing'}"
        )
    array = _points(values, columns=len(objectives))
    gains = np.empty_like(array)
    for column, objective in enumerate(objectives):
        value, limit = array[:, column], float(reference[objective.name])
        if not np.isfinite(limit):
            raise ValueError(f"the reference of {objective.name} must be finite, not {limit}")
        if not objective.is_cost:
            gains[:, column] = value - limit if objective.maximise else limit - value
            continue
        if not limit > 0:
            raise ValueError(f"the reference of {objective.name} must be positive, not {limit}")
        worst = float(value.min(initial=np.inf))
        if worst < 0 or (log2 and worst == 0):
            raise ValueError(f"a {objective.measurement} of {worst:g} is no cost: it must be positive")
        gains[:, column] = np.log2(limit) - np.log2(value) if log2 else 1 - value / limit
    return hypervolume(-gains, np.zeros(len(objectives)))


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError(f"cannot compare vectors of shapes {left.shape} and {right.shape}")
    if np.isnan(left).any() or np.isnan(right).any():
        raise ValueError(f"cannot compare {left.tolist()} with {right.tolist()}: NaN has no order")
    return left, right


def _points(points: ArrayLike, columns: int | None = None) -> NDArray[np.float64]:
    """Copy the points to a C-contiguous (n, m) array; an empty list becomes (0, m)."""
    array = np.array(points, dtype=np.float64, order="C")
    if array.size == 0:
        return array.reshape(0, columns or 1)
    if array.ndim != 2 or (columns is not None and array.shape[1] != columns):
        wanted = "m" if columns is None else columns
        raise ValueError(f"points must be an array of shape (n, {wanted}), not {array.shape}")
    if np.isnan(array).any():
        row = int(np.isnan(array).any(axis=1).argmax())
        raise ValueError(f"point {row} is {array[row].tolist()}: NaN has no order")
    return array
