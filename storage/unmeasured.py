"""Candidates that may hold a budget, of which nobody knows since something in it is not measured on them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Exists, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.measurement import SEARCHED_SPLITS
from leanfront.core.objectives.metrics import METRICS
from leanfront.core.storage.memory import Known
from leanfront.core.storage.points import limits, of_stage
from leanfront.core.storage.tables import CandidateRow, MeasurementRow


def missing_metrics(known: Known, budget: Budget) -> tuple[str, ...]:
    """The metrics a budget limits that not every candidate of a search has: what its dense model has, they have."""
    own = {objective.measurement for objective in known.objectives} | known.dense
    return tuple(name for name in budget.names if name in METRICS and name not in own)


def unmeasured(
    session: Session,
    known: Known,
    budget: Budget,
    names: Collection[str],
    stage: str,
    count: int,
    least: float | None = None,
) -> list[int]:
    """Candidates that lack some of the metrics and hold whatever limit they have measured, most accurate first.

    The index of accuracies is walked from its upper end: where few have a metric, as it is with what costs an
    evaluation of its own, those that lack it are found at once.

    Args:
        session: of the transaction.
        known: the search.
        budget: limits.
        names: of metrics that it limits.
        stage: ``before`` recovery, or ``after``.
        count: how many at most.
        least: accuracy on the validation split from which on they are of interest.
    """
    accuracy = aliased(MeasurementRow)

    def measured(name: str) -> Exists:
        other = aliased(MeasurementRow)
        return exists().where(
            other.candidate_id == accuracy.candidate_id, other.name == name, other.split.in_(SEARCHED_SPLITS)
        )

    def broken(name: str, upper: bool, limit: float) -> Exists:
        other = aliased(MeasurementRow)
        beyond = other.value > limit if upper else other.value < limit
        return exists().where(
            other.candidate_id == accuracy.candidate_id,
            other.name == name,
            other.split.in_(SEARCHED_SPLITS),
            or_(other.value.is_(None), beyond),
        )

    wanted = (
        select(accuracy.candidate_id)
        .join(CandidateRow, CandidateRow.id == accuracy.candidate_id)
        .where(accuracy.search_id == known.id, accuracy.name == "accuracy", accuracy.split == "validation")
        .where(accuracy.value.is_not(None), CandidateRow.state == "complete", *of_stage(stage))
        .where(or_(*(~measured(name) for name in names)))
        .where(and_(*(~broken(*limit) for limit in limits(budget))))
        .order_by(accuracy.value.desc(), accuracy.candidate_id)
        .limit(count)
    )
    if least is not None:
        wanted = wanted.where(accuracy.value >= least)
    return list(session.scalars(wanted))
