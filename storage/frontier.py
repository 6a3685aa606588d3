"""The stored frontier: maintained on insert, so that no query needs to compare candidates.

The table holds the *weak* front of a search: every vector than which no other is better in all objectives.
Those that no vector dominates are marked strict. Looking at the members alone is enough, since both relations
are transitive: what kept a vector out, or threw one out, does the same to everything that the vector would
have kept out or marked.

A copy of the members lies in memory beside it (`storage.memory`), valid for one version of the frontier: vectors
are compared there, and the table is only told what changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from objectives.budget import Budget
from objectives.objective import Objective
from storage.tables import VECTOR, FrontierRow, table

CHUNK = 500
"""Ids in one statement: SQLite takes 32,766 parameters at most, PostgreSQL 65,535."""


@dataclass(frozen=True, eq=False)
class Front:
    """The members of a search's weak frontier; never changed in place.

    Args:
        version: of the frontier these are.
        ids: (n,) candidates.
        vectors: (m, n) objective values in minimisation form, one row an objective.
        strict: (n,) whether no vector dominates it.
    """

    version: int
    ids: NDArray[np.int64]
    vectors: NDArray[np.float64]
    strict: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Number of members of the strict front."""
        return int(self.strict.sum())

    def strictly(self) -> Front:
        """The strict members alone."""
        return replace(
            self,
            ids=self.ids[self.strict],
            vectors=self.vectors[:, self.strict],
            strict=self.strict[self.strict],
        )


@dataclass
class Changes:
    """What entering candidates did to a front: what the table must be told.

    Args:
        added: candidate -> its vector, and whether it is strict.
        removed: members of before that some newcomer beats in all objectives.
        demoted: members of before that a newcomer dominates.
        entered: newcomers that were strict when they came.
    """

    added: dict[int, tuple[tuple[float, ...], bool]] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    demoted: set[int] = field(default_factory=set)
    entered: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.demoted)


def enter(front: Front, candidate: int, vector: Sequence[float], changes: Changes) -> Front:
    """Put a candidate before a front.

    Args:
        front: the members.
        candidate: the candidate's id.
        vector: (m,) finite values in minimisation form.
        changes: what happens is noted there.

    Returns:
        The members afterwards, under the same version.
    """
    mine = np.asarray(vector, dtype=np.float64)
    # Row by row: along the short axis numpy is several times slower.
    better = [row < value for row, value in zip(front.vectors, mine, strict=True)]
    if _every(better).any():
        return front
    worse = [row > value for row, value in zip(front.vectors, mine, strict=True)]
    somewhere_better, somewhere_worse = _some(better), _some(worse)
    strict = not bool((somewhere_better & ~somewhere_worse).any())
    gone = _every(worse)
    demoted = front.strict & ~somewhere_better & somewhere_worse & ~gone
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
        front.version,
        np.append(front.ids[kept], candidate),
        np.concatenate([front.vectors[:, kept], mine[:, None]], axis=1),
        np.append((front.strict & ~demoted)[kept], strict),
    )


def _every(rows: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return reduce(np.logical_and, rows)


def _some(rows: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return reduce(np.logical_or, rows)


def save(session: Session, search: int, changes: Changes, correct: Mapping[int, bytes]) -> None:
    """Write a front's changes.

    The caller holds the search's row locked and has compared with the version that is stored: of two candidates
    that enter at once, the second sees the first.

    Args:
        correct: candidate -> packed correctness; kept while it is on the strict front.
    """
    for ids in chunks(changes.removed):
        session.execute(delete(FrontierRow).where(FrontierRow.candidate_id.in_(ids)))
    for ids in chunks(changes.demoted):
        session.execute(
            update(FrontierRow)
            .where(FrontierRow.candidate_id.in_(ids))
            .values(strict=False, correct=None)
            .execution_options(synchronize_session=False)
        )
    if not changes.added:
        return
    empty = dict.fromkeys(VECTOR)
    rows = [
        {
            "candidate_id": candidate,
            "search_id": search,
            **empty,
            **dict(zip(VECTOR, vector, strict=False)),
            "strict": strict,
            "correct": correct.get(candidate) if strict else None,
        }
        for candidate, (vector, strict) in changes.added.items()
    ]
    session.execute(insert(table(FrontierRow)), rows)


def load(session: Session, search: int, objectives: int, version: int) -> Front:
    """Read a search's members."""
    rows = session.execute(
        select(FrontierRow.candidate_id, FrontierRow.strict, *columns(objectives))
        .where(FrontierRow.search_id == search)
        .order_by(FrontierRow.candidate_id)
    ).all()
    return Front(
        version,
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[2:] for row in rows], dtype=np.float64).reshape(len(rows), objectives).T.copy(),
        np.array([row[1] for row in rows], dtype=np.bool_),
    )


def correctness(session: Session, search: int) -> dict[int, bytes]:
    """Packed correctness of the strict front's members that have it, by candidate id."""
    rows = session.execute(
        select(FrontierRow.candidate_id, FrontierRow.correct).where(
            FrontierRow.search_id == search, FrontierRow.strict, FrontierRow.correct.is_not(None)
        )
    )
    return {candidate: correct for candidate, correct in rows if correct is not None}


def columns(count: int) -> list[InstrumentedAttribute[float]]:
    """The first `count` columns of the vector."""
    return [getattr(FrontierRow, name) for name in VECTOR[:count]]


def natural(front: Front, objectives: Sequence[Objective]) -> dict[str, NDArray[np.float64]]:
    """Measurement name -> (n,) values of a front's members, in natural units."""
    return {
        objective.measurement: -values if objective.maximise else values
        for objective, values in zip(objectives, front.vectors, strict=True)
    }


def decides(objectives: Sequence[Objective], budget: Budget) -> bool:
    """Whether the stored front alone answers every query within a budget as all candidates would.

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


def chunks(ids: Iterable[int]) -> Iterable[list[int]]:
    """Ids in lists that fit a statement."""
    rest = iter(ids)
    while part := list(islice(rest, CHUNK)):
        yield part
