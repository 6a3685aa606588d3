"""Answers to "which candidate within this budget?": infeasible answers included."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.objective import Objective
from leanfront.core.objectives.point import P, Point
from leanfront.core.objectives.strategies import STRATEGIES, preference
from leanfront.errors import UsageError

__all__ = ["STRATEGIES", "Point", "Selection", "select"]


@dataclass(frozen=True)
class Selection(Generic[P]):
    """The answer to a budget query.

    Args:
        feasible: whether a candidate within the budget exists.
        strategy: the strategy asked for.
        candidate: the chosen one; None when infeasible.
        nearest: when infeasible, the candidate of least normalised violation; None where there is none.
        violations: by how much `nearest` exceeds each broken limit, in the measurement's unit.
        binding: the broken limit with the largest normalised violation, by measurement name.
        cheapest: least costs that the space can reach, as the caller passed them; None when unknown.
        note: what a reader should know about how the answer came about.
        unmeasured: ids of candidates that may be a better answer, most accurate first: some limited metric is not
            measured on them, and all limits that can be checked hold.
        unmeasured_metrics: which metrics are not measured on all of them.
    """

    feasible: bool
    strategy: str
    candidate: P | None = None
    nearest: P | None = None
    violations: dict[str, float] = field(default_factory=dict)
    binding: str | None = None
    cheapest: dict[str, Any] | None = None
    note: str | None = None
    unmeasured: tuple[int, ...] = ()
    unmeasured_metrics: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The ``select`` object of the command line and the API; ``note`` and ``unmeasured`` where there are any.

        A violation that is infinite, as the measurement is missing, becomes null.
        """
        answer: dict[str, Any] = {"feasible": self.feasible}
        if self.feasible:
            answer |= {"strategy": self.strategy, "candidate": _json(self.candidate)}
        else:
            answer |= {
                "nearest": _json(self.nearest),
                "violations": {k: v if math.isfinite(v) else None for k, v in self.violations.items()},
                "binding": self.binding,
                "cheapest": self.cheapest,
            }
        if self.unmeasured:
            answer["unmeasured"] = {
                "metrics": list(self.unmeasured_metrics),
                "candidates": list(self.unmeasured),
            }
        return answer if self.note is None else {**answer, "note": self.note}


def select(
    points: Iterable[P],
    budget: Budget | None,
    objectives: Sequence[Objective],
    *,
    strategy: str = "accuracy",
    cheapest: Mapping[str, Any] | None = None,
    **options: Any,
) -> Selection[P]:
    """Choose among candidates within a budget (methods.md section 1).

    All points are looked at, not only the frontier: a cap on a measurement that is no objective can be met
    best by a dominated candidate. Points with an objective that is missing or not finite are left out.

    Args:
        points: the candidates.
        budget: limits; None for none.
        objectives: the search's objectives.
        strategy: a name in `STRATEGIES`.
        cheapest: least costs that the space can reach, handed through into an infeasible answer.
        options: the strategy's own: ``order`` and ``tolerance`` for lexicographic, ``weights`` for chebyshev.

    Returns:
        A feasible selection; or, where nothing holds the budget, an infeasible one with the candidate of
        least normalised violation (ties as in the accuracy strategy), its violations, and the binding limit.

    Raises:
        UsageError: an unknown strategy, or an option that the strategy does not take or cannot read.
    """
    rule = STRATEGIES.get(strategy)
    if rule is None:
        raise UsageError(f"unknown strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    settings = rule.read(options, objectives)
    limits = Budget() if budget is None else budget
    usable = [point for point in points if _measured(point, objectives)]
    feasible = [point for point in usable if limits.holds(_values(point, limits))]
    if feasible:
        chosen, note = rule.choose(feasible, objectives, **settings)
        return Selection(True, strategy, candidate=chosen, note=note)
    floor = None if cheapest is None else dict(cheapest)
    if not usable:
        return Selection(False, strategy, cheapest=floor, note="there is no measured candidate yet")
    nearest = min(
        usable, key=lambda point: (limits.normalised_violation(_values(point, limits)), *preference(point))
    )
    values = _values(nearest, limits)
    shares = limits.normalised_violations(values)
    unmeasured = [name for name in limits.names if all(_missing(point, name) for point in usable)]
    return Selection(
        False,
        strategy,
        nearest=nearest,
        violations=limits.violations(values),
        binding=max(sorted(shares), key=lambda name: shares[name]),
        cheapest=floor,
        note=f"no candidate has {', '.join(unmeasured)} measured" if unmeasured else None,
    )


def _values(point: Point, budget: Budget) -> dict[str, float | None]:
    return {name: point.value(name) for name in budget.names}


def _missing(point: Point, name: str) -> bool:
    value = point.value(name)
    return value is None or math.isnan(value)


def _measured(point: Point, objectives: Sequence[Objective]) -> bool:
    values = (point.value(objective.measurement) for objective in objectives)
    return all(value is not None and math.isfinite(value) for value in values)


def _json(point: Any) -> Any:
    return None if point is None else point.to_json()
