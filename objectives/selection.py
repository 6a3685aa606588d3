"""Selection of one candidate within a budget."""

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
        strategy: name of the strategy.
        candidate: the selected candidate; None if infeasible.
        nearest: if infeasible, the candidate with the least normalised violation; None without candidates.
        violations: excess of `nearest` over each broken limit, in the measurement's unit.
        binding: the broken limit with the largest normalised violation, by measurement name.
        cheapest: least costs that the space can reach, as passed by the caller; None if unknown.
        note: a remark about the answer, such as why no knee stands out.
        unmeasured: ids of candidates that may be a better answer, most accurate first. They lack a limited metric,
            and all limits that can be checked hold.
        unmeasured_metrics: the limited metrics that some of them lack.
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
        """Return the ``select`` object of the command line and the API.

        ``note`` and ``unmeasured`` are omitted if empty. A violation by a missing measurement, which is infinite,
        becomes null.
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
    """Select one candidate within a budget.

    All points are considered, not only the frontier: if a measurement other than an objective is limited, the best
    candidate may be a dominated one. Points with a missing or non-finite objective are ignored.

    Args:
        points: the candidates.
        budget: limits; None for no limits.
        objectives: objectives of the search.
        strategy: a name in `STRATEGIES`.
        cheapest: least costs that the space can reach, passed on to an infeasible answer.
        options: options of the strategy: ``order`` and ``tolerance`` for lexicographic, ``weights`` for chebyshev.

    Returns:
        A feasible selection. If no candidate is within the budget, an infeasible one with the candidate of least
        normalised violation (ties as in the accuracy strategy), its violations, and the binding limit.

    Raises:
        UsageError: an unknown strategy, or an unknown or invalid option.
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
