"""Candidates that may be within a budget but lack a measurement that it limits."""

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
    """Return the limited metrics that not every candidate has; candidates have all metrics of the dense model."""
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
    """Return candidates that lack some metrics and meet all limits they have measured, most accurate first.

    Walks the index of accuracies from its upper end. If few candidates have a metric, as with metrics that need an
    evaluation of their own, those that lack it are found at once.

    Args:
        session: session of the transaction.
        known: the search.
        budget: the limits.
        names: limited metrics that may be missing.
        stage: ``before`` recovery, or ``after``.
        count: largest number of candidates.
        least: lowest accuracy on the validation split of interest.
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
