"""The candidates nearest to a budget that none holds, without looking at all of them.

The threshold algorithm (R. Fagin, A. Lotem, M. Naor, "Optimal aggregation algorithms for middleware", 2003,
section 4): every limit has a list of the candidates that break it, in order of how little they do, which is an
index walk. Lists are read side by side. A candidate that none has shown yet breaks at least one limit, and all of
those that everyone breaks, each by no less than the last one its list showed: once the best seen is better than
that, it is the nearest of all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Self

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from leanfront.core.objectives.budget import TINY, Budget
from leanfront.core.storage.points import StoredPoint, complete, holding, limits, load, of_search
from leanfront.core.storage.tables import CandidateRow, MeasurementRow

STEP = 200
"""Candidates read of every list at a time."""


def candidates(
    session: Session, search: int, budget: Budget, names: Collection[str] | None, stage: str
) -> list[StoredPoint]:
    """The points among which those of least normalised violation are.

    Args:
        search: the search's id.
        budget: limits that no complete candidate of the search at that stage holds.
        names: measurements to load; None for all.
        stage: ``before`` recovery, or ``after``.
    """
    with ExitStack() as stack:
        lists = [stack.enter_context(_Ranking(session, search, *limit)) for limit in limits(budget)]
        return _nearest(session, complete(search, stage), budget, names, lists)


def _nearest(
    session: Session,
    among: Select[int],
    budget: Budget,
    names: Collection[str] | None,
    lists: Sequence[_Ranking],
) -> list[StoredPoint]:
    seen: dict[int, StoredPoint] = {}
    least = float("inf")
    while any(not each.done for each in lists):
        fresh = {candidate for each in lists for candidate in each.step()} - seen.keys()
        if fresh:
            for point in load(session, among.where(CandidateRow.id.in_(fresh)), names):
                assert point.id is not None
                seen[point.id] = point
                values = {name: point.value(name) for name in budget.names}
                least = min(least, budget.normalised_violation(values))
        open_ends = [each.threshold for each in lists if not each.done]
        everybody = sum(each.threshold for each in lists if each.universal)
        # Strictly less: what is as near as the best may win the tie.
        if least < max(everybody, min(open_ends, default=everybody)):
            break
    if least == float("inf"):
        # No candidate has all of it measured: all are equally far.
        return load(session, among, names)
    return list(seen.values())


class _Ranking:
    """The candidates of a search that break one limit, in order of how little they do.

    `threshold` is the normalised violation of the last one shown, `universal` whether nobody holds the limit.
    """

    def __init__(self, session: Session, search: int, name: str, upper: bool, limit: float) -> None:
        value = MeasurementRow.value
        order = (value, MeasurementRow.candidate_id) if upper else (value.desc(), MeasurementRow.candidate_id)
        self._rows = session.execute(
            select(MeasurementRow.candidate_id, value)
            .where(*of_search(MeasurementRow, search, name), value.is_not(None))
            .where(value > limit if upper else value < limit)
            .order_by(*order)
            .execution_options(yield_per=STEP)
        )
        self._sign, self._limit = (1.0 if upper else -1.0), limit
        self.universal = session.scalar(holding(search, name, upper, limit).limit(1)) is None
        self.threshold = 0.0
        self.done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # A list is seldom read to its end.
        self._rows.close()

    def step(self) -> list[int]:
        """The next candidates."""
        rows = self._rows.fetchmany(STEP)
        # Whoever breaks this limit has been shown then; the others hold it, or have it not measured.
        self.done = len(rows) < STEP
        if rows:
            self.threshold = self._sign * (rows[-1].value - self._limit) / max(abs(self._limit), TINY)
        return [row.candidate_id for row in rows]
