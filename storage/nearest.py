"""The candidates nearest to a budget that none meets, found without reading all of them.

Implements the threshold algorithm (R. Fagin, A. Lotem, M. Naor, "Optimal aggregation algorithms for middleware",
2003, section 4). Each limit has a list of the candidates that violate it, least violation first, read by an index
walk. The lists are read in parallel. A candidate that has not appeared in any list violates at least one limit, and
every limit that all candidates violate, by at least the amount last read from that list. Once the best candidate
read is better than this bound, no other can be nearer.
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
"""Candidates read from each list per step."""


def candidates(
    session: Session, search: int, budget: Budget, names: Collection[str] | None, stage: str
) -> list[StoredPoint]:
    """Return points that include all those of least normalised violation.

    Args:
        search: id of the search.
        budget: limits that no complete candidate at that stage meets.
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
        # Strictly less: a candidate as near as the best may win the tie.
        if least < max(everybody, min(open_ends, default=everybody)):
            break
    if least == float("inf"):
        # No candidate has all limits measured: all are equally far.
        return load(session, among, names)
    return list(seen.values())


class _Ranking:
    """Candidates of a search that violate one limit, least violation first.

    `threshold` is the normalised violation of the last candidate read; `universal` is whether all violate the limit.
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
        # A list is rarely read to its end.
        self._rows.close()

    def step(self) -> list[int]:
        """Read the next candidates."""
        rows = self._rows.fetchmany(STEP)
        # All violators of this limit have been read; the other candidates meet it, or lack the measurement.
        self.done = len(rows) < STEP
        if rows:
            self.threshold = self._sign * (rows[-1].value - self._limit) / max(abs(self._limit), TINY)
        return [row.candidate_id for row in rows]
