"""Budget queries over stored candidates: which rows must be looked at, and the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from objectives import selection as rules
from objectives.budget import Budget
from objectives.measurement import SEARCHED_SPLITS
from objectives.objective import Objective
from objectives.strategies import STRATEGIES
from storage.frontier import decides, within
from storage.tables import CandidateRow, FrontierRow, MeasurementRow
from targets.errors import UsageError

EXACT_ON_FRONT = frozenset({"accuracy", "knee", "lexicographic", "chebyshev"})
"""Strategies known to choose the same from the strict front as from all candidates, where `decides` holds. A
strategy that somebody registered may depend on dominated candidates, so it is shown all of them."""


@dataclass(frozen=True)
class StoredPoint:
    """A candidate as the selection rules see it: its number and its values, without the rest of the row."""

    id: int | None
    values: Mapping[str, float]

    def value(self, name: str, split: str | None = None) -> float | None:
        """The cost or validation value; other splits are not loaded."""
        if split not in (None, *SEARCHED_SPLITS):
            raise UsageError(f"a selection goes by costs and validation values, not by the {split} split")
        return self.values.get(name)


def choose(
    session: Session,
    search: int,
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
    names: set[str] | None = None
    ids, on_front = _complete(search), tuple[Objective, ...]()
    if strategy in EXACT_ON_FRONT:
        names = measured | ordered | {"accuracy", "memory_bytes", "macs", *budget.names}
        if decides(objectives, budget) and ordered <= measured:
            ids, on_front = _front(search), tuple(objectives)
    points = load(session, search, capped(ids, search, budget, on_front), names)
    if not points:
        points = load(session, search, ids, names)
    return rules.select(points, budget, objectives, strategy=strategy, cheapest=cheapest, **options)


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


def _complete(search: int) -> Select[int]:
    return select(CandidateRow.id).where(CandidateRow.search_id == search, CandidateRow.state == "complete")


def _front(search: int) -> Select[int]:
    return select(FrontierRow.candidate_id).where(FrontierRow.search_id == search, FrontierRow.strict)


def capped(ids: Select[int], search: int, budget: Budget, on_front: Sequence[Objective] = ()) -> Select[int]:
    """The candidates among `ids` that hold every limit, each limit answered from the measurements' index.

    Args:
        ids: of candidates.
        on_front: the search's objectives, where `ids` are selected from the frontier: it holds their values,
            so limits on them need no other table.
    """
    (column,) = ids.selected_columns
    own = {objective.measurement for objective in on_front}
    ids = ids.where(*within(on_front, budget))
    value = MeasurementRow.value
    for limits, upper in ((budget.maximum, True), (budget.minimum, False)):
        for name, limit in limits.items():
            if name not in own:
                ids = ids.where(
                    column.in_(
                        select(MeasurementRow.candidate_id).where(
                            MeasurementRow.search_id == search,
                            MeasurementRow.name == name,
                            MeasurementRow.split.in_(SEARCHED_SPLITS),
                            value <= limit if upper else value >= limit,
                        )
                    )
                )
    return ids


def load(session: Session, search: int, ids: Select[int], names: Collection[str] | None) -> list[StoredPoint]:
    """The points of some candidates, by id.

    Args:
        names: measurements to load; None for all.
    """
    rows = (
        select(MeasurementRow.candidate_id, MeasurementRow.name, MeasurementRow.value)
        .where(MeasurementRow.search_id == search, MeasurementRow.split.in_(SEARCHED_SPLITS))
        .where(MeasurementRow.candidate_id.in_(ids))
        .order_by(MeasurementRow.candidate_id)
    )
    if names is not None:
        rows = rows.where(MeasurementRow.name.in_(sorted(names)))
    values: dict[int, dict[str, float]] = {}
    for candidate, name, value in session.execute(rows):
        own = values.setdefault(candidate, {})
        if value is not None:
            own[name] = value
    return [StoredPoint(candidate, own) for candidate, own in values.items()]


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
