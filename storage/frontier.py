"""The stored frontier: maintained on insert, so that no query needs to compare candidates.

The table holds the *weak* front of a search: every vector than which no other is better in all objectives.
Those that no vector dominates are marked strict. Looking at the members alone is enough, since both relations
are transitive: what kept a vector out, or threw one out, does the same to everything that the vector would
have kept out or marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from objectives.budget import Budget
from objectives.objective import Objective, minimisation
from storage.tables import VECTOR, FrontierRow


def enter(
    session: Session,
    search: int,
    candidate: int,
    objectives: Sequence[Objective],
    values: Sequence[float],
    correct: bytes | None = None,
) -> bool:
    """Put a candidate before the frontier and change it accordingly.

    The caller holds the search's row locked: two candidates that enter at once would not see each other.

    Args:
        session: in a write transaction.
        search: the search's id.
        candidate: the candidate's id.
        objectives: m objectives.
        values: (m,) finite values in natural units.
        correct: packed correctness, kept while the candidate is on the strict front.

    Returns:
        Whether it is on the strict front.
    """
    vector = minimisation(objectives, values)
    own = FrontierRow.search_id == search
    axes = list(zip(columns(len(vector)), vector, strict=True))
    if session.scalar(select(exists().where(own, *(column < value for column, value in axes)))):
        return False
    no_worse = and_(*(column <= value for column, value in axes))
    somewhere_better = or_(*(column < value for column, value in axes))
    dominated = session.scalar(select(exists().where(own, no_worse, somewhere_better)))
    session.execute(delete(FrontierRow).where(own, *(column > value for column, value in axes)))
    session.execute(
        update(FrontierRow)
        .where(own, FrontierRow.strict)
        .where(*(column >= value for column, value in axes))
        .where(or_(*(column > value for column, value in axes)))
        .values(strict=False, correct=None)
    )
    row = FrontierRow(candidate_id=candidate, search_id=search, strict=not dominated)
    row.correct = None if dominated else correct
    for name, value in zip(VECTOR, vector, strict=False):
        setattr(row, name, value)
    session.add(row)
    session.flush()
    return not dominated


def correctness(session: Session, search: int) -> dict[int, bytes]:
    """Packed correctness of the strict front's members that have it, by candidate id."""
    rows = session.execute(
        select(FrontierRow.candidate_id, FrontierRow.correct).where(
            FrontierRow.search_id == search, FrontierRow.strict, FrontierRow.correct.is_not(None)
        )
    )
    return {candidate: correct for candidate, correct in rows if correct is not None}


def size(session: Session, search: int) -> int:
    """Number of members of the strict front."""
    return (
        session.scalar(
            select(func.count())
            .select_from(FrontierRow)
            .where(FrontierRow.search_id == search, FrontierRow.strict)
        )
        or 0
    )


def columns(count: int) -> list[InstrumentedAttribute[float]]:
    """The first `count` columns of the vector."""
    return [getattr(FrontierRow, name) for name in VECTOR[:count]]


def within(objectives: Sequence[Objective], budget: Budget) -> list[ColumnElement[bool]]:
    """The limits on objectives as conditions on the frontier's columns; other limits are left out."""
    sides: Mapping[bool, Mapping[str, float]] = {True: budget.maximum, False: budget.minimum}
    conditions: list[ColumnElement[bool]] = []
    for objective, column in zip(objectives, columns(len(objectives)), strict=True):
        for upper, limits in sides.items():
            limit = limits.get(objective.measurement)
            if limit is None:
                continue
            # The column holds the value with the sign of a maximised objective flipped: so flips the limit.
            at_most = upper != objective.maximise
            bound = -limit if objective.maximise else limit
            conditions.append(column <= bound if at_most else column >= bound)
    return conditions


def decides(objectives: Sequence[Objective], budget: Budget) -> bool:
    """Whether the strict front alone answers every query within a budget as all candidates would.

    It does when each limit is on an objective and on its bad side (at most on a cost, at least on accuracy),
    for then whatever dominates a candidate within the budget is within it too; and when ties are broken by
    objectives only (accuracy, bytes, MACs), for else a dominated candidate may win a tie.
    """
    measured = {objective.measurement: objective for objective in objectives}
    if not {"accuracy", "memory_bytes", "macs"} <= measured.keys():
        return False
    return all(name in measured and not measured[name].maximise for name in budget.maximum) and all(
        name in measured and measured[name].maximise for name in budget.minimum
    )
