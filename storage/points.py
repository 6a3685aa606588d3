"""Candidates as the selection rules see them, and index walks that find those within a budget."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, exists, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.orm.util import AliasedClass

from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.measurement import SEARCHED_SPLITS
from leanfront.core.storage.tables import CandidateRow, MeasurementRow
from leanfront.errors import UsageError

FEW = 2_000
"""If at most this many candidates meet some limit, they are checked one by one."""


@dataclass(frozen=True)
class StoredPoint:
    """A candidate as the selection rules see it: id and values, without the rest of its row."""

    id: int | None
    values: Mapping[str, float]

    def value(self, name: str, split: str | None = None) -> float | None:
        """Return the cost or validation value; other splits are not loaded."""
        if split not in (None, *SEARCHED_SPLITS):
            raise UsageError(f"a selection goes by costs and validation values, not by the {split} split")
        return self.values.get(name)


def complete(search: int, stage: str = "after") -> Select[int]:
    """Return the query for the ids of a search's complete candidates at a stage."""
    return select(CandidateRow.id).where(
        CandidateRow.search_id == search, CandidateRow.state == "complete", *of_stage(stage)
    )


def of_stage(stage: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that select the candidates of a stage."""
    return (CandidateRow.parent.is_(None),) if stage == "before" else ()


def limits(budget: Budget) -> list[tuple[str, bool, float]]:
    """Return each limit as (name, whether it is an upper limit, value)."""
    return [
        *((name, True, limit) for name, limit in budget.maximum.items()),
        *((name, False, limit) for name, limit in budget.minimum.items()),
    ]


def capped(ids: Select[int], search: int, budget: Budget) -> Select[int]:
    """Restrict `ids` to the candidates within a budget; each limit is answered from the measurements' index."""
    (column,) = ids.selected_columns
    for name, upper, limit in limits(budget):
        ids = ids.where(column.in_(holding(search, name, upper, limit)))
    return ids


def holding(search: int, name: str, upper: bool, limit: float) -> Select[int]:
    """Return the query for the candidates that meet one limit."""
    value = MeasurementRow.value
    return select(MeasurementRow.candidate_id).where(
        *of_search(MeasurementRow, search, name), value <= limit if upper else value >= limit
    )


def of_search(
    table: type[MeasurementRow] | AliasedClass[MeasurementRow], search: int, name: str
) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for one measurement of all candidates of a search: costs and validation values."""
    return table.search_id == search, table.name == name, table.split.in_(SEARCHED_SPLITS)


def with_accuracy(session: Session, search: int, budget: Budget, stage: str) -> Select[int] | None:
    """Return the query for the most accurate candidates within a budget; None if there are none.

    If few candidates meet some limit, all of them are returned. Otherwise the index of accuracies is walked from its
    upper end to the first candidate that meets every limit.
    """
    for name, upper, limit in limits(budget):
        few = list(session.scalars(holding(search, name, upper, limit).limit(FEW + 1)))
        if len(few) <= FEW:
            among = complete(search, stage).where(CandidateRow.id.in_(few))
            return capped(among, search, budget) if few else None
    accuracy = aliased(MeasurementRow)
    held = [
        exists().where(
            (other := aliased(MeasurementRow)).candidate_id == accuracy.candidate_id,
            other.name == name,
            other.split.in_(SEARCHED_SPLITS),
            other.value <= limit if upper else other.value >= limit,
        )
        for name, upper, limit in limits(budget)
    ]
    best = session.scalar(
        select(accuracy.value)
        .join(CandidateRow, CandidateRow.id == accuracy.candidate_id)
        .where(accuracy.search_id == search, accuracy.name == "accuracy", accuracy.split == "validation")
        .where(accuracy.value.is_not(None), CandidateRow.state == "complete", *of_stage(stage), *held)
        .order_by(accuracy.value.desc())
        .limit(1)
    )
    if best is None:
        return None
    level = Budget(budget.maximum, {**budget.minimum, "accuracy": best})
    return capped(complete(search, stage), search, level)


def load(
    session: Session, ids: Select[int] | Collection[int], names: Collection[str] | None
) -> list[StoredPoint]:
    """Load the points of some candidates, ordered by id.

    Args:
        ids: at most `leanfront.core.storage.frontier.CHUNK` ids, or a query for them.
        names: measurements to load; None for all.
    """
    # The search is not part of the query: SQLite would scan all measurements of it.
    rows = (
        select(MeasurementRow.candidate_id, MeasurementRow.name, MeasurementRow.value)
        .where(MeasurementRow.split.in_(SEARCHED_SPLITS))
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
