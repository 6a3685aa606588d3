"""Budget queries over stored candidates: which rows to read, and the answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from leanfront.core.objectives import selection as rules
from leanfront.core.objectives.budget import TINY, Budget
from leanfront.core.objectives.dominance import nondominated
from leanfront.core.objectives.objective import Objective
from leanfront.core.objectives.strategies import STRATEGIES
from leanfront.core.storage import nearest
from leanfront.core.storage.frontier import Front, chunks, decides
from leanfront.core.storage.frontier import natural as natural_values
from leanfront.core.storage.memory import Known
from leanfront.core.storage.points import StoredPoint, capped, complete, limits, load, with_accuracy
from leanfront.core.storage.reduction import REDUCTIONS
from leanfront.core.storage.wide import Wide, WideFronts

FRONT_ONLY = frozenset({"knee", "chebyshev"})
"""Strategies that choose among the nondominated candidates within the budget."""
EXACT_ON_FRONT = frozenset(REDUCTIONS)
"""Strategies known to choose the same from a weak or widened front as from all candidates. A user's strategy may
depend on dominated candidates, so it is given all of them."""


def is_of_front(
    objectives: Sequence[Objective], budget: Budget, strategy: str, options: Mapping[str, Any]
) -> bool:
    """Whether an answer is valid as long as the front is unchanged, since dominated candidates cannot affect it."""
    return strategy in EXACT_ON_FRONT and options.get("order") is None and decides(objectives, budget)


def choose(
    session: Session,
    known: Known,
    front: Front,
    wider: WideFronts,
    budget: Budget,
    strategy: str,
    options: Mapping[str, Any],
    stage: str,
) -> rules.Selection[StoredPoint]:
    """Answer a budget query with the result of `leanfront.core.objectives.select` over all complete candidates of a
    search at a stage.

    Raises:
        UsageError: the strategy is unknown, or an option is invalid.
    """
    objectives = known.objectives
    rule = STRATEGIES.get(strategy)
    # Refuse invalid options before loading anything; `rules.select` refuses an unknown strategy.
    settings = {} if rule is None else rule.read(options, objectives)
    measured = {objective.measurement for objective in objectives}
    ordered = {each.measurement for each in settings.get("order", ()) if isinstance(each, Objective)}
    points: Iterable[StoredPoint] | None = None
    if strategy in EXACT_ON_FRONT and ordered <= measured and "accuracy" in measured:
        points = _on_front(session, known, front, wider, budget, strategy, settings, stage)
    if points is None:
        points = _among_all(session, known, budget, strategy, ordered, stage)
    return rules.select(points, budget, objectives, strategy=strategy, cheapest=known.cheapest, **options)


def _on_front(
    session: Session,
    known: Known,
    front: Front,
    wider: WideFronts,
    budget: Budget,
    strategy: str,
    settings: Mapping[str, Any],
    stage: str,
) -> list[StoredPoint] | None:
    """Return the members of the weak or a widened front that can be the answer; None if it would be too large.

    The weak front is needed because ties may be broken by measurements that are not objectives, and then by id: a
    dominated candidate of equal accuracy may win. A candidate beaten in every objective is less accurate.
    """
    natural = {(each.measurement, not each.maximise) for each in known.objectives}
    limited = sorted({(name, upper) for name, upper, _ in limits(budget)} - natural)
    if limited:
        wide = wider.get(session, known, limited, stage)
    else:
        wide = Wide(known.measured, 0, front.ids, front.vectors, np.empty((0, len(front.ids))))
    if wide is None:
        return None
    if not len(wide.ids):
        return []
    rows = dict(zip(limited, wide.extras, strict=True))
    for each, row in zip(known.objectives, wide.vectors, strict=True):
        rows[each.measurement, not each.maximise] = row
    total = np.zeros(len(wide.ids))
    for name, upper, limit in limits(budget):
        total += np.maximum(rows[name, upper] - (limit if upper else -limit), 0.0) / max(abs(limit), TINY)
    accuracy = rows["accuracy", False]
    if np.isinf(total.min()):
        # All are equally far, so the most accurate is nearest; any that is measured shows the available names.
        shown = [np.flatnonzero(accuracy == accuracy.min())]
        places = np.unique(
            np.concatenate([*shown, *(np.flatnonzero(row < np.inf)[:1] for row in wide.extras)])
        )
    else:
        # Sums of the same terms in another order may differ by rounding.
        places = np.flatnonzero(total <= total.min() * (1 + 1e-9))
        if total.min() == 0:
            places = _deciding(places, wide, None if limited else front.strict, known, strategy, settings)
    ids = wide.ids[places].tolist()
    names = {each.measurement for each in known.objectives}
    if not limited and {"memory_bytes", "macs"} <= names:
        columns = {
            name: column[places].tolist() for name, column in natural_values(front, known.objectives).items()
        }
        return [
            StoredPoint(each, {name: column[place] for name, column in columns.items()})
            for place, each in enumerate(ids)
        ]
    names |= {"memory_bytes", "macs", *budget.names}
    found = [point for part in chunks(ids) for point in load(session, part, names)]
    # Another thread may have read candidates that this transaction does not see yet.
    return found if len(found) == len(ids) else None


def _deciding(
    places: NDArray[np.int64],
    wide: Wide,
    strict: NDArray[np.bool_] | None,
    known: Known,
    strategy: str,
    settings: Mapping[str, Any],
) -> NDArray[np.int64]:
    """Return the places of the members within a budget that the rule needs.

    Args:
        strict: which members are nondominated, if that also holds within the budget.
    """

    def reduced(among: NDArray[np.int64]) -> NDArray[np.int64]:
        some = REDUCTIONS[strategy](wide.vectors[:, among], wide.ids[among], known.objectives, settings)
        return among[some]

    if strategy not in FRONT_ONLY:
        return reduced(places)
    (accuracy,) = (
        row
        for each, row in zip(known.objectives, wide.vectors, strict=True)
        if each.measurement == "accuracy"
    )
    best = places[accuracy[places] == accuracy[places].min()]
    alone = nondominated(wide.vectors[:, places].T) if strict is None else strict[places]
    return np.union1d(reduced(places[alone]), best)


def _among_all(
    session: Session,
    known: Known,
    budget: Budget,
    strategy: str,
    ordered: Collection[str],
    stage: str,
) -> Iterable[StoredPoint]:
    """Return the candidates that can be the answer if dominated ones can."""
    search, objectives = known.id, known.objectives
    names: set[str] | None = None
    if strategy in EXACT_ON_FRONT:
        names = {each.measurement for each in objectives} | set(ordered)
        names |= {"accuracy", "memory_bytes", "macs", *budget.names}
    ids = capped(complete(search, stage), search, budget)
    if strategy == "accuracy" and any(each.measurement == "accuracy" for each in objectives):
        best = with_accuracy(session, search, budget, stage)
        points = [] if best is None else load(session, best, names)
    else:
        points = load(session, ids, names)
    if points or not budget.names:
        return points
    return nearest.candidates(session, search, budget, names, stage)


def answer(selection: rules.Selection[StoredPoint], found: Mapping[int, Any]) -> rules.Selection[Any]:
    """Replace the points of a selection by full candidates.

    Args:
        found: id -> candidate, for the ids returned by `chosen`.
    """
    full = cast("rules.Selection[Any]", selection)
    return replace(
        full,
        candidate=None if selection.candidate is None else found[cast(int, selection.candidate.id)],
        nearest=None if selection.nearest is None else found[cast(int, selection.nearest.id)],
    )


def chosen(selection: rules.Selection[StoredPoint]) -> list[int]:
    """Return the ids of the candidates in a selection."""
    points = (selection.candidate, selection.nearest)
    return [point.id for point in points if point is not None and point.id is not None]
