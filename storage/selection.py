"""Budget queries over stored candidates: which rows must be looked at, and the answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from objectives import selection as rules
from objectives.budget import Budget
from objectives.measurement import SEARCHED_SPLITS
from objectives.objective import Objective
from objectives.strategies import STRATEGIES
from storage import nearest
from storage.frontier import Front, decides, natural
from storage.points import StoredPoint, capped, complete, load, with_accuracy
from storage.tables import MeasurementRow
from targets.errors import UsageError

EXACT_ON_FRONT = frozenset({"accuracy", "knee", "lexicographic", "chebyshev"})
"""Strategies known to choose the same from the strict front as from all candidates, where `decides` holds. A
strategy that somebody registered may depend on dominated candidates, so it is shown all of them."""


def choose(
    session: Session,
    search: int,
    front: Front,
    objectives: Sequence[Objective],
    budget: Budget,
    strategy: str,
    options: Mapping[str, Any],
    cheapest: Mapping[str, Any] | None,
) -> rules.Selection[StoredPoint]:
    """Answer a budget query as `objectives.select` would over all complete candidates of a search.

    Raises:
        UsageError: an unknown strategy, or an option it does not take or cannot read.
    """
    rule = STRATEGIES.get(strategy)
    # Bad options are refused before anything is loaded; `rules.select` refuses an unknown strategy.
    settings = {} if rule is None else rule.read(options, objectives)
    measured = {objective.measurement for objective in objectives}
    ordered = {each.measurement for each in settings.get("order", ()) if isinstance(each, Objective)}
    points: Iterable[StoredPoint]
    if strategy in EXACT_ON_FRONT and decides(objectives, budget) and ordered <= measured:
        points = _on_front(front.strictly(), objectives, budget, strategy)
    else:
        points = _among_all(session, search, objectives, budget, strategy, ordered)
    return rules.select(points, budget, objectives, strategy=strategy, cheapest=cheapest, **options)


def _on_front(
    members: Front, objectives: Sequence[Objective], budget: Budget, strategy: str
) -> list[StoredPoint]:
    """The members that can be the answer: all within the budget, or the nearest to it."""
    values = natural(members, objectives)
    places = np.arange(len(members.ids))
    if budget.names and len(places):
        violations = budget.total_violations(values)
        if violations.min() > 0:
            # Sums of the same terms in another order may differ by rounding.
            places = places[violations <= violations.min() * (1 + 1e-9)]
        else:
            places = places[violations == 0]
    if strategy == "accuracy" and len(places):
        # Of thousands within the budget one is wanted: ranked here, by what decides there.
        keys = (members.ids, values["macs"], values["memory_bytes"], -values["accuracy"])
        places = (
            places[np.lexsort([key[places] for key in keys])[:1]]
            if _holds(budget, values, places)
            else places
        )
    return [
        StoredPoint(int(members.ids[place]), {name: float(column[place]) for name, column in values.items()})
        for place in places
    ]


def _holds(budget: Budget, values: Mapping[str, NDArray[np.float64]], places: NDArray[np.int64]) -> bool:
    first = {name: float(column[places[0]]) for name, column in values.items()}
    return budget.holds(cast("Mapping[str, float | None]", first))


def _among_all(
    session: Session,
    search: int,
    objectives: Sequence[Objective],
    budget: Budget,
    strategy: str,
    ordered: Collection[str],
) -> Iterable[StoredPoint]:
    """The candidates that can be the answer, where dominated ones can."""
    names: set[str] | None = None
    if strategy in EXACT_ON_FRONT:
        names = {each.measurement for each in objectives} | set(ordered)
        names |= {"accuracy", "memory_bytes", "macs", *budget.names}
    ids = capped(complete(search), search, budget)
    if strategy == "accuracy" and any(each.measurement == "accuracy" for each in objectives):
        best = with_accuracy(session, search, budget)
        points = [] if best is None else load(session, search, best, names)
    else:
        points = load(session, search, ids, names)
    if points or not budget.names:
        return points
    return nearest.candidates(session, search, budget, names)


def answer(selection: rules.Selection[StoredPoint], found: Mapping[int, Any]) -> rules.Selection[Any]:
    """The selection with its points replaced by full candidates.

    Args:
        found: id -> candidate, for the ids of `chosen`.
    """
    full = cast("rules.Selection[Any]", selection)
    return replace(
        full,
        candidate=None if selection.candidate is None else found[cast(int, selection.candidate.id)],
        nearest=None if selection.nearest is None else found[cast(int, selection.nearest.id)],
    )


def chosen(selection: rules.Selection[StoredPoint]) -> list[int]:
    """Ids of the candidates that a selection names."""
    points = (selection.candidate, selection.nearest)
    return [point.id for point in points if point is not None and point.id is not None]


def require_measured(session: Session, search: int, budget: Budget, known: Collection[str]) -> None:
    """Refuse a limit on something that no candidate of the search has measured.

    Args:
        known: names that need no looking up.

    Raises:
        UsageError: naming what is measured.
    """
    # One probe of the index a name; only the message needs them all.
    unknown = [name for name in budget.names if name not in known and not _is_measured(session, search, name)]
    if not unknown:
        return
    rows = select(MeasurementRow.name).where(
        MeasurementRow.search_id == search, MeasurementRow.split.in_(SEARCHED_SPLITS)
    )
    measured = sorted({*known, *session.scalars(rows.distinct())})
    raise UsageError(
        f"cannot limit {', '.join(unknown)}: no candidate of this search has it measured; measured are "
        f"{', '.join(measured)}"
    )


def _is_measured(session: Session, search: int, name: str) -> bool:
    row = select(MeasurementRow.id).where(
        MeasurementRow.search_id == search,
        MeasurementRow.name == name,
        MeasurementRow.split.in_(SEARCHED_SPLITS),
    )
    return session.scalar(row.limit(1)) is not None
