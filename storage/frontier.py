"""The stored frontier, maintained on insert so that no query needs to compare candidates.

The table holds the *weak* front of a search: every vector that no other vector beats in all objectives. Members
that no vector dominates are marked strict. It is enough to compare a new vector with the members, since both
relations are transitive.

There are two fronts, before and after recovery (`Fronts`); one row records a candidate's membership in both.

The members are also kept in memory (`storage/memory.py`), valid for one version of the frontier. Vectors are
compared there, and the table receives only the changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.objective import Objective
from leanfront.core.search.candidate import STAGES
from leanfront.core.storage.tables import VECTOR, FrontierRow, table
from leanfront.errors import UsageError

CHUNK = 500
"""Ids per statement: SQLite allows at most 32,766 parameters, PostgreSQL 65,535."""


@dataclass(frozen=True, eq=False)
class Front:
    """Members of a search's weak frontier; immutable.

    Args:
        ids: (n,) candidate ids.
        vectors: (m, n) objective values in minimisation form, one row per objective.
        strict: (n,) whether no vector dominates the member.
    """

    ids: NDArray[np.int64]
    vectors: NDArray[np.float64]
    strict: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Number of members of the strict front."""
        return int(self.strict.sum())

    def strictly(self) -> Front:
        """Return the strict members only."""
        return replace(
            self,
            ids=self.ids[self.strict],
            vectors=self.vectors[:, self.strict],
            strict=self.strict[self.strict],
        )


@dataclass(frozen=True, eq=False)
class Fronts:
    """Fronts of a search before and after recovery; one object as long as they are equal.

    Args:
        version: version of the search's frontier.
        before: front of the candidates without a parent.
        after: front of all candidates.
    """

    version: int
    before: Front
    after: Front

    def of(self, stage: str) -> Front:
        """Return the front of a stage. Raises `UsageError` that lists the stages."""
        if stage not in STAGES:
            raise UsageError(f"a frontier's stage is {' or '.join(STAGES)} (recovery), not {stage!r}")
        return self.before if stage == "before" else self.after


@dataclass
class Changes:
    """Changes that new candidates make to a front, to be written to the table.

    Args:
        added: new member -> its vector and whether it is strict.
        removed: old members that a new one beats in all objectives.
        demoted: old members that a new one dominates.
        entered: new members that were strict when they were added.
    """

    added: dict[int, tuple[tuple[float, ...], bool]] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    demoted: set[int] = field(default_factory=set)
    entered: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.demoted)


@dataclass
class BothChanges:
    """Changes that new candidates make to the fronts before and after recovery."""

    before: Changes = field(default_factory=Changes)
    after: Changes = field(default_factory=Changes)

    def __bool__(self) -> bool:
        return bool(self.before or self.after)


def enter_both(
    fronts: Fronts, candidate: int, vector: Sequence[float], recovered: bool, changes: BothChanges
) -> Fronts:
    """Add a candidate to both fronts, or only to `after` if it is recovered; see `enter`."""
    if recovered:
        return replace(fronts, after=enter(fronts.after, candidate, vector, changes.after))
    if fronts.before is fronts.after:
        front = enter(fronts.after, candidate, vector, changes.before, changes.after)
        return replace(fronts, before=front, after=front)
    before = enter(fronts.before, candidate, vector, changes.before)
    return replace(fronts, before=before, after=enter(fronts.after, candidate, vector, changes.after))


def enter(front: Front, candidate: int, vector: Sequence[float], *notes: Changes) -> Front:
    """Add a candidate to a front if no member beats it in all objectives.

    Args:
        front: the current members.
        candidate: id of the candidate.
        vector: (m,) finite values in minimisation form.
        notes: records to which the changes are added.

    Returns:
        The front with the candidate.
    """
    mine = np.asarray(vector, dtype=np.float64)
    # Row by row: numpy is several times slower along the short axis.
    better = [row < value for row, value in zip(front.vectors, mine, strict=True)]
    if _every(better).any():
        return front
    worse = [row > value for row, value in zip(front.vectors, mine, strict=True)]
    somewhere_better, somewhere_worse = _some(better), _some(worse)
    strict = not bool((somewhere_better & ~somewhere_worse).any())
    gone = _every(worse)
    demoted = front.strict & ~somewhere_better & somewhere_worse & ~gone
    for changes in notes:
        for each in front.ids[gone].tolist():
            if changes.added.pop(each, None) is None:
                changes.removed.add(each)
                changes.demoted.discard(each)
        for each in front.ids[demoted].tolist():
            if each in changes.added:
                changes.added[each] = changes.added[each][0], False
            else:
                changes.demoted.add(each)
        changes.added[candidate] = tuple(float(value) for value in mine), strict
        if strict:
            changes.entered.add(candidate)
    kept = ~gone
    return Front(
        np.append(front.ids[kept], candidate),
        np.concatenate([front.vectors[:, kept], mine[:, None]], axis=1),
        np.append((front.strict & ~demoted)[kept], strict),
    )


def _every(rows: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return reduce(np.logical_and, rows)


def _some(rows: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return reduce(np.logical_or, rows)


def save(session: Session, search: int, changes: BothChanges, correct: Mapping[int, bytes]) -> None:
    """Write the changes of a search's fronts.

    The caller must hold the lock on the search's row and must have checked the stored version, so that of two
    candidates added at once the second sees the first.

    A candidate without a parent that is on the front after recovery is also on the front before, where it has fewer
    rivals. So its row is deleted when it leaves `before`; the row of a recovered candidate when it leaves `after`.

    Args:
        correct: candidate -> packed correctness; kept while the candidate is strict before recovery.
    """
    before, after = changes.before, changes.after
    row = FrontierRow
    for ids in chunks(before.removed):
        session.execute(delete(row).where(row.candidate_id.in_(ids)))
    for ids in chunks(after.removed - before.removed):
        session.execute(delete(row).where(row.candidate_id.in_(ids), row.strict_before.is_(None)))
        _mark(session, ids, {"strict_after": None})
    left: dict[str, Any] = {"strict_before": False, "correct": None}
    for demoted, values in (
        (before.demoted & after.demoted, {**left, "strict_after": False}),
        (before.demoted - after.demoted, left),
        (after.demoted - before.demoted, {"strict_after": False}),
    ):
        for ids in chunks(demoted):
            _mark(session, ids, values)
    added = before.added | after.added
    if not added:
        return
    empty = dict.fromkeys(VECTOR)
    rows = []
    for candidate, (vector, _) in added.items():
        stages = [each.added.get(candidate, (vector, None))[1] for each in (before, after)]
        rows.append(
            {
                "candidate_id": candidate,
                "search_id": search,
                **empty,
                **dict(zip(VECTOR, vector, strict=False)),
                "strict_before": stages[0],
                "strict_after": stages[1],
                "correct": correct.get(candidate) if stages[0] else None,
            }
        )
    session.execute(insert(table(row)), rows)


def _mark(session: Session, ids: Sequence[int], values: Mapping[str, Any]) -> None:
    session.execute(
        update(FrontierRow)
        .where(FrontierRow.candidate_id.in_(ids))
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def load(session: Session, search: int, objectives: int, version: int) -> Fronts:
    """Read the fronts of a search."""
    rows = session.execute(
        select(
            FrontierRow.candidate_id,
            FrontierRow.strict_before,
            FrontierRow.strict_after,
            *columns(objectives),
        )
        .where(FrontierRow.search_id == search)
        .order_by(FrontierRow.candidate_id)
    ).all()
    after = _front([(row[0], row[2], *row[3:]) for row in rows if row[2] is not None], objectives)
    if all(row[1] == row[2] for row in rows):
        return Fronts(version, after, after)
    before = _front([(row[0], row[1], *row[3:]) for row in rows if row[1] is not None], objectives)
    return Fronts(version, before, after)


def _front(rows: Sequence[Sequence[Any]], objectives: int) -> Front:
    """Build a front from rows of (id, strict, *vector)."""
    return Front(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[2:] for row in rows], dtype=np.float64).reshape(len(rows), objectives).T.copy(),
        np.array([row[1] for row in rows], dtype=np.bool_),
    )


def correctness(session: Session, search: int) -> dict[int, bytes]:
    """Return the stored packed correctness of the strict front before recovery, by candidate id."""
    rows = session.execute(
        select(FrontierRow.candidate_id, FrontierRow.correct).where(
            FrontierRow.search_id == search,
            FrontierRow.strict_before.is_(True),
            FrontierRow.correct.is_not(None),
        )
    )
    return {candidate: correct for candidate, correct in rows if correct is not None}


def columns(count: int) -> list[InstrumentedAttribute[float]]:
    """Return the first `count` columns of the vector."""
    return [getattr(FrontierRow, name) for name in VECTOR[:count]]


def natural(front: Front, objectives: Sequence[Objective]) -> dict[str, NDArray[np.float64]]:
    """Map measurement names to the (n,) values of a front's members, in natural units."""
    return {
        objective.measurement: -values if objective.maximise else values
        for objective, values in zip(objectives, front.vectors, strict=True)
    }


def decides(objectives: Sequence[Objective], budget: Budget) -> bool:
    """Whether the stored front alone gives the answer to queries with this budget.

    It does if two conditions hold. Each limit is an upper limit on a minimised objective or a lower limit on a
    maximised one, so that whatever dominates a candidate within the budget is within it too. And ties are broken
    by objectives only (accuracy, bytes, MACs); otherwise a dominated candidate could win a tie.
    """
    measured = {objective.measurement: objective for objective in objectives}
    if not {"accuracy", "memory_bytes", "macs"} <= measured.keys():
        return False
    return all(name in measured and not measured[name].maximise for name in budget.maximum) and all(
        name in measured and measured[name].maximise for name in budget.minimum
    )


def chunks(ids: Iterable[int]) -> Iterable[list[int]]:
    """Split ids into lists that fit into one statement."""
    rest = iter(ids)
    while part := list(islice(rest, CHUNK)):
        yield part
