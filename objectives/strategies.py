"""Strategies that select one of several feasible candidates, and their registry.

All strategies break ties by `preference`, so the answer does not depend on the order of the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanfront.core.objectives.dominance import nondominated
from leanfront.core.objectives.objective import Objective, lookup, measurement_name, minimisation
from leanfront.core.objectives.point import P, Point
from leanfront.errors import UsageError

RHO = 1e-3
"""Weight of the sum in the augmented Chebyshev scalarisation: small enough that the maximum decides between clearly
different points, large enough that the sum decides between points of equal maximum."""

EQUAL = 1e-12
"""Scores on normalised axes that differ by less are considered equal."""

FEWEST_FOR_KNEE = 3


@dataclass(frozen=True)
class Strategy:
    """A strategy that selects one candidate.

    Args:
        name: name, as typed by a user.
        options: names of its options.
        parse: function (options, objectives) -> keyword arguments of `rule`; raises `UsageError`.
        rule: function (points, objectives, **settings) -> (selected point, note or None). There is at least one
            point, and each has a finite value for every objective.
        source: source of the definition, one line.
    """

    name: str
    options: tuple[str, ...]
    parse: Callable[[Mapping[str, Any], Sequence[Objective]], dict[str, Any]]
    rule: Callable[..., tuple[Any, str | None]]
    source: str

    def read(self, options: Mapping[str, Any], objectives: Sequence[Objective]) -> dict[str, Any]:
        """Parse options into settings; options that are None are ignored.

        Raises:
            UsageError: an unknown option, or an invalid value.
        """
        given = {name: value for name, value in options.items() if value is not None}
        unknown = sorted(set(given) - set(self.options))
        if unknown:
            takes = f"takes {' and '.join(self.options)}" if self.options else "takes no options"
            raise UsageError(f"strategy '{self.name}' has no option {', '.join(unknown)}; it {takes}")
        return self.parse(given, objectives)

    def choose(
        self, points: Sequence[P], objectives: Sequence[Objective], **settings: Any
    ) -> tuple[P, str | None]:
        """Apply the rule, and return the selected point and a note or None."""
        chosen, note = self.rule(points, objectives, **settings)
        return chosen, note


STRATEGIES: dict[str, Strategy] = {}
"""Strategies by name."""


def register(strategy: Strategy) -> Strategy:
    """Add a strategy to the registry.

    Raises:
        ValueError: the name is already registered.
    """
    if strategy.name in STRATEGIES:
        raise ValueError(f"strategy '{strategy.name}' is registered already")
    STRATEGIES[strategy.name] = strategy
    return strategy


def preference(point: Point) -> tuple[float, float, float, float]:
    """Return a sort key, best first: highest accuracy, fewest bytes, fewest MACs, lowest id; unknown values last."""
    accuracy, memory, macs = (point.value(name) for name in ("accuracy", "memory_bytes", "macs"))
    number = math.inf if point.id is None else point.id
    return _last(None if accuracy is None else -accuracy), _last(memory), _last(macs), number


def _last(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else value


def _no_options(options: Mapping[str, Any], objectives: Sequence[Objective]) -> dict[str, Any]:
    return {}


def _accuracy(points: Sequence[P], objectives: Sequence[Objective]) -> tuple[P, str | None]:
    best = min(points, key=preference)
    if best.value("accuracy") is None:
        return best, "accuracy is not measured on any candidate: this is the one with the fewest bytes"
    return best, None


def _front(points: Sequence[P], objectives: Sequence[Objective]) -> tuple[list[P], NDArray[np.float64]]:
    """Return the nondominated points and their (n, m) values, each column scaled from ideal 0 to nadir 1.

    A column of equal values is 0.
    """
    values = np.array(
        [minimisation(objectives, [_value(point, each) for each in objectives]) for point in points]
    )
    mask = nondominated(values)
    front = values[mask]
    span = front.max(axis=0) - front.min(axis=0)
    scaled = (front - front.min(axis=0)) / np.where(span > 0, span, 1.0)
    return [point for point, keep in zip(points, mask, strict=True) if keep], scaled


def _value(point: Point, objective: Objective) -> float:
    value = point.value(objective.measurement)
    if value is None:
        raise ValueError(f"candidate {point.id} has no {objective.measurement}")
    return value


def _best(points: Sequence[P], scores: NDArray[np.float64]) -> P:
    """Return the point with the highest score; ties up to rounding are broken by `preference`."""
    near = scores >= scores.max() - EQUAL
    return min((point for point, keep in zip(points, near, strict=True) if keep), key=preference)


def _knee(points: Sequence[P], objectives: Sequence[Objective]) -> tuple[P, str | None]:
    front, scaled = _front(points, objectives)
    distinct = len(np.unique(scaled, axis=0))
    if distinct < FEWEST_FOR_KNEE:
        chosen, _ = _accuracy(points, objectives)
        return chosen, (
            f"a knee needs {FEWEST_FOR_KNEE} nondominated points within the budget, there are {distinct}: "
            "this is the most accurate candidate"
        )
    distances = knee_distances(scaled)
    flat = distances.max() <= EQUAL
    return _best(
        front, distances
    ), "the frontier within the budget has no bulge: no knee stands out" if flat else None


def knee_distances(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute signed distances from the hyperplane through the extremes of the front, positive on its better side.

    The extreme of a column is its best point (in a tie, the one with the least sum). Two columns may share an
    extreme, since the smallest model is often also the fastest. Then many hyperplanes pass through the extremes, and
    the one with the normal closest to equal weights is used. For accuracy, memory and MACs with a common cheapest
    point this normal is (2, 1, 1): one half for accuracy and one half for the costs together.

    Args:
        scaled: (n, m) in minimisation form, each column from 0 to 1.

    Returns:
        (n,) distances in units of the scaled axes.

    Source: I. Das, "On characterizing the 'knee' of the Pareto curve", 1999; the rule for shared extremes is
        our own.
    """
    sums = scaled.sum(axis=1)
    extremes = scaled[[extreme(column, sums) for column in scaled.T]]
    ones = np.ones(scaled.shape[1])
    # Least squares projects equal weights onto the plane; the remainder is the normal.
    plane = (extremes - extremes[0]).T
    normal = ones - plane @ np.linalg.lstsq(plane, ones, rcond=None)[0]
    length = float(np.linalg.norm(normal))
    if length < 1e-6:
        # The plane is parallel to equal weights, so neither side is better.
        normal, length = ones, float(np.linalg.norm(ones))
    return np.asarray((extremes[0] - scaled) @ normal / length, dtype=np.float64)


def extreme(column: NDArray[np.float64], sums: NDArray[np.float64]) -> int:
    """Return the index of the least value of a column; in a tie, the one with the least sum."""
    least = np.flatnonzero(column == column.min())
    return int(least[np.argmin(sums[least])])


def _read_lexicographic(options: Mapping[str, Any], objectives: Sequence[Objective]) -> dict[str, Any]:
    listed = options.get("order", [objective.name for objective in objectives])
    names = listed.split(",") if isinstance(listed, str) else list(listed)
    order = [lookup(str(name).strip()) for name in names]
    if not order or len({each.measurement for each in order}) < len(order):
        raise UsageError(f"order {listed!r} must name one objective or more, each once")
    tolerance = options.get("tolerance", 0.0)
    if isinstance(tolerance, Mapping):
        given = {measurement_name(name): _weight(value, name) for name, value in tolerance.items()}
        unknown = sorted(set(given) - {each.measurement for each in order})
        if unknown:
            raise UsageError(f"tolerance names {', '.join(unknown)}, which the order does not")
        return {"order": order, "tolerances": [given.get(each.measurement, 0.0) for each in order]}
    return {"order": order, "tolerances": [_weight(tolerance, "tolerance")] * len(order)}


def _lexicographic(
    points: Sequence[P],
    objectives: Sequence[Objective],
    *,
    order: Sequence[Objective],
    tolerances: Sequence[float],
) -> tuple[P, str | None]:
    left = [
        point
        for point in points
        if all(
            (value := point.value(each.measurement)) is not None and math.isfinite(value) for each in order
        )
    ]
    if not left:
        names = ", ".join(each.name for each in order)
        raise UsageError(f"no candidate within the budget has all of {names} measured; choose another order")
    for position, (each, tolerance) in enumerate(zip(order, tolerances, strict=True)):
        sign = -1.0 if each.maximise else 1.0
        best = min(sign * _value(point, each) for point in left)
        # A tolerance leaves room for later objectives, so the last objective has none.
        room = tolerance if position + 1 < len(order) else 0.0
        left = [point for point in left if sign * _value(point, each) - best <= room]
    return min(left, key=preference), None


def _read_chebyshev(options: Mapping[str, Any], objectives: Sequence[Objective]) -> dict[str, Any]:
    weights = options.get("weights", {})
    if not isinstance(weights, Mapping):
        raise UsageError(f"weights must map objectives to numbers, not {weights!r}")
    known = {objective.measurement: objective.name for objective in objectives}
    given: dict[str, float] = {}
    for name, value in weights.items():
        measurement = measurement_name(name)
        if measurement not in known:
            raise UsageError(f"weights name {name!r}, no objective; objectives: {', '.join(known.values())}")
        if measurement in given:
            raise UsageError(f"weights name {known[measurement]} twice; name it once")
        given[measurement] = _weight(value, name)
    listed = [given.get(objective.measurement, 1.0) for objective in objectives]
    if not any(listed):
        raise UsageError("all weights are 0: give one objective a positive weight")
    return {"weights": listed}


def _chebyshev(
    points: Sequence[P], objectives: Sequence[Objective], *, weights: Sequence[float]
) -> tuple[P, str | None]:
    front, scaled = _front(points, objectives)
    share = np.array(weights) / max(weights)
    # The sum is unweighted, so that an objective of weight 0 still breaks ties.
    achievement = (share * scaled).max(axis=1) + RHO * scaled.sum(axis=1)
    return _best(front, -achievement), None


def _weight(value: Any, name: str) -> float:
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise UsageError(f"{name} must be a finite number of 0 or more, not {value!r}")
    return number


register(
    Strategy(
        name="accuracy",
        options=(),
        parse=_no_options,
        rule=_accuracy,
        source="epsilon-constraint method: most accurate; ties: fewer bytes, fewer MACs, lower id",
    )
)
register(
    Strategy(
        name="knee",
        options=(),
        parse=_no_options,
        rule=_knee,
        source="Das 1999: farthest from the hyperplane through the extremes of the nondominated points",
    )
)
register(
    Strategy(
        name="lexicographic",
        options=("order", "tolerance"),
        parse=_read_lexicographic,
        rule=_lexicographic,
        source="best in the first objective; within a tolerance in its unit, best in the second, and so on",
    )
)
register(
    Strategy(
        name="chebyshev",
        options=("weights",),
        parse=_read_chebyshev,
        rule=_chebyshev,
        source="Wierzbicki 1980, augmented: least max_i w_i z_i + rho sum_i z_i, z from ideal 0 to nadir 1",
    )
)
