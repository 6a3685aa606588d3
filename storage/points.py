"""Candidates as the selection rules see them, and the index walks that find those which hold a budget."""

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
"""Where no more candidates than this hold some limit, they are looked at one by one."""


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


def complete(search: int, stage: str = "after") -> Select[int]:
    """Ids of a search's complete candidates, before recovery or with the recovered ones."""
    return select(CandidateRow.id).where(
        CandidateRow.search_id == search, CandidateRow.state == "complete", *of_stage(stage)
    )


def of_stage(stage: str) -> tuple[ColumnElement[bool], ...]:
    """What holds for a stage's candidates."""
    return (CandidateRow.parent.is_(None),) if stage == "before" else ()


def limits(budget: Budget) -> list[tuple[str, bool, float]]:
    """Every limit: name, whether it is an upper one, and its value."""
    return [
        *((name, True, limit) for name, limit in budget.maximum.items()),
        *((name, False, limit) for name, limit in budget.minimum.items()),
    ]


def capped(ids: Select[int], search: int, budget: Budget) -> Select[int]:
    """The candidates among `ids` that hold every limit, each limit answered from the measurements' index."""
    (column,) = ids.selected_columns
    for name, upper, limit in limits(budget):
        ids = ids.where(column.in_(holding(search, name, upper, limit)))
    return ids


def holding(search: int, name: str, upper: bool, limit: float) -> Select[int]:
    """Candidates that hold one limit."""
    value = MeasurementRow.value
    return select(MeasurementRow.candidate_id).where(
        *of_search(MeasurementRow, search, name), value <= limit if upper else value >= limit
    )


def of_search(
    table: type[MeasurementRow] | AliasedClass[MeasurementRow], search: int, name: str
) -> tuple[ColumnElement[bool], ...]:
    """One measurement of all candidates of a search, costs and validation values."""
    return table.search_id == search, table.name == name, table.split.in_(SEARCHED_SPLITS)


def with_accuracy(session: Session, search: int, budget: Budget, stage: str) -> Select[int] | None:
    """The most accurate candidates within a budget; None where there is none.

    Where few candidates hold some limit these are all; else the index of accuracies is walked from its upper
    end up to the first candidate that holds every limit.
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
    """The points of some candidates, by id.

    Args:
        ids: of the candidates: at most `leanfront.core.storage.frontier.CHUNK`, or a query.
        names: measurements to load; None for all.
    """
    # Their search is not asked for: SQLite would go through all that is measured in it.
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
