"""Storing trials together with their candidates and the changes of the frontier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from leanfront.core.objectives.objective import Objective, minimisation, objective_values
from leanfront.core.search.candidate import Candidate, TrialRecord
from leanfront.core.storage import candidates, frontier
from leanfront.core.storage.records import plain
from leanfront.core.storage.tables import CandidateRow, SearchRow, TrialRow, now, table
from leanfront.errors import UsageError

Entry = tuple[TrialRecord | None, Candidate, bytes | None]
"""A trial (None for a recovered candidate), its candidate, and the candidate's packed correctness."""


@dataclass(frozen=True)
class TrialEvent:
    """A stored trial, as reported to observers of the search.

    Args:
        sequence: position in the order of storing, from 1.
        number: Optuna's trial number.
        candidate: id of the candidate.
        state: state of the candidate.
        values: objective values in natural units, in the search's order; None for a failed candidate.
        duplicate: whether an earlier trial made the candidate.
        entered: whether the candidate came onto the frontier.
        created: time in UTC.
    """

    sequence: int
    number: int
    candidate: int
    state: str
    values: tuple[float, ...] | None
    duplicate: bool
    entered: bool
    created: datetime


def store(
    session: Session,
    owner: SearchRow,
    objectives: Sequence[Objective],
    fronts: frontier.Fronts,
    entries: Sequence[Entry],
) -> tuple[list[Candidate], frontier.Fronts, frontier.BothChanges]:
    """Store trials in order, and recovered candidates, which have no trial.

    Args:
        owner: row of their search, locked.
        objectives: objectives of the search.
        fronts: its fronts before.
        entries: trials with their candidates.

    Returns:
        The stored candidate of each trial, the fronts afterwards, and the changes of the fronts.

    Raises:
        UsageError: a trial with that number is already stored.
        NotFoundError: a candidate's parent does not exist.
    """
    ids = candidates.known(session, owner.id, (each.configuration.digest for _, each, _ in entries))
    old = set(ids.values())
    fresh: dict[str, tuple[Candidate, Sequence[float] | None]] = {}
    correct: dict[str, bytes | None] = {}
    for _, candidate, right in entries:
        digest = candidate.configuration.digest
        if digest not in ids and digest not in fresh:
            fresh[digest], correct[digest] = _judged(candidate, objectives), right
    if fresh:
        ids.update(candidates.add(session, owner.id, list(fresh.values())))
    changes = frontier.BothChanges()
    for digest, (candidate, values) in fresh.items():
        if candidate.state == "complete" and values is not None:
            vector, recovered = minimisation(objectives, values), candidate.parent is not None
            fronts = frontier.enter_both(fronts, ids[digest], vector, recovered, changes)
    packed = {ids[digest]: right for digest, right in correct.items() if right is not None}
    frontier.save(session, owner.id, changes, packed)
    _insert(session, owner, entries, ids, set(fresh), changes.after.entered)
    owner.trials += sum(trial is not None for trial, _, _ in entries)
    owner.frontier_version += bool(changes)
    owner.frontier_size = fronts.after.size
    found = candidates.load(session, (identifier for identifier in ids.values() if identifier in old))
    for digest, (candidate, _) in fresh.items():
        identifier = ids[digest]
        _, strict = changes.after.added.get(identifier, ((), False))
        found[identifier] = replace(candidate, search=owner.name, id=identifier, on_frontier=strict)
    stored = [found[ids[candidate.configuration.digest]] for _, candidate, _ in entries]
    return stored, replace(fronts, version=owner.frontier_version), changes


def _judged(
    candidate: Candidate, objectives: Sequence[Objective]
) -> tuple[Candidate, Sequence[float] | None]:
    """Return a candidate as it is to be stored, with its objective values."""
    if candidate.reason is not None:
        candidate = replace(candidate, reason=plain(candidate.reason))
    if candidate.state == "failed":
        return candidate, None
    values, reason = objective_values(objectives, candidate.measurements)
    if values is None:
        return replace(candidate, state="failed", reason=reason), None
    return candidate, values


def _insert(
    session: Session,
    owner: SearchRow,
    entries: Sequence[Entry],
    ids: dict[str, int],
    fresh: set[str],
    entered: set[int],
) -> None:
    rows: list[dict[str, Any]] = []
    for trial, candidate, _ in entries:
        if trial is None:
            continue
        digest = candidate.configuration.digest
        new = digest in fresh
        fresh.discard(digest)
        rows.append(
            {
                "search_id": owner.id,
                "number": trial.number,
                "parameters": dict(trial.parameters),
                "attributes": dict(trial.attributes),
                "candidate_id": ids[digest],
                "duplicate": not new,
                "sequence": owner.trials + 1 + len(rows),
                "entered": new and ids[digest] in entered,
                "created": now(),
            }
        )
    if not rows:
        return
    try:
        session.execute(insert(table(TrialRow)), rows)
    except IntegrityError:
        numbers = ", ".join(str(row["number"]) for row in rows[:5])
        raise UsageError(f"trial {numbers} of search {owner.name!r} is stored already") from None


def since(session: Session, search: int, sequence: int, limit: int) -> list[TrialEvent]:
    """Return the trials stored after `sequence`, in the order they were stored."""
    rows: Any = session.execute(
        select(TrialRow, CandidateRow.state, CandidateRow.objective_values)
        .join(CandidateRow, CandidateRow.id == TrialRow.candidate_id)
        .where(TrialRow.search_id == search, TrialRow.sequence > sequence)
        .order_by(TrialRow.sequence)
        .limit(limit)
    )
    return [
        TrialEvent(
            row.sequence,
            row.number,
            row.candidate_id,
            state,
            None if values is None else tuple(values),
            row.duplicate,
            row.entered,
            row.created,
        )
        for row, state, values in rows
    ]
