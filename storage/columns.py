"""The candidates of a search as columns of numbers, for charts of many thousand points."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from leanfront.core.objectives.measurement import COST_SPLIT, SEARCHED_SPLITS, SPLITS
from leanfront.core.objectives.objective import measurement_name
from leanfront.core.storage.records import objectives_of
from leanfront.core.storage.tables import CandidateRow, FrontierRow, MeasurementRow, SearchRow, table
from leanfront.errors import UsageError

_CANDIDATES = table(CandidateRow).c
_MEASUREMENTS = table(MeasurementRow).c
_FRONTIER = table(FrontierRow).c
Numbers = tuple[float | None, ...]


@dataclass(frozen=True)
class Column:
    """One measurement of several candidates, in their order; None where it is missing or not a number.

    Args:
        name: name of the measurement.
        split: data it was measured on; ``""`` for costs.
        unit: unit of the values.
        value: (n,) values.
        low: (n,) lower ends of the 95% intervals.
        high: (n,) upper ends.
    """

    name: str
    split: str
    unit: str
    value: Numbers
    low: Numbers
    high: Numbers

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary; the split of a cost is null."""
        return {
            "name": self.name,
            "split": self.split or None,
            "unit": self.unit,
            "value": self.value,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True)
class Columns:
    """Columns of several candidates of a search, in order of id.

    Args:
        search: name of the search.
        frontier_version: version of the search's frontier when the columns were read.
        ids: (n,) candidate ids.
        trials: (n,) numbers of the trials that made them.
        states: (n,) ``complete``, ``stopped`` or ``failed``.
        on_frontier: (n,) whether no stored candidate dominates the candidate.
        parents: (n,) ids of the candidates they were recovered from, or None.
        columns: requested name -> column.
        last: id of the last candidate if more follow, otherwise None.
    """

    search: str
    frontier_version: int
    ids: tuple[int, ...]
    trials: tuple[int, ...]
    states: tuple[str, ...]
    on_frontier: tuple[bool, ...]
    parents: tuple[int | None, ...]
    columns: dict[str, Column]
    last: int | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, without `last`."""
        return {
            "search": self.search,
            "frontier_version": self.frontier_version,
            "ids": self.ids,
            "trials": self.trials,
            "states": self.states,
            "on_frontier": self.on_frontier,
            "parents": self.parents,
            "columns": {asked: column.to_json() for asked, column in self.columns.items()},
        }


@dataclass(frozen=True)
class _Kind:
    """A requested measurement and its known properties."""

    name: str
    splits: tuple[str, ...]
    split: str
    unit: str


def read(session: Session, owner: SearchRow, asked: Sequence[str], after: int, limit: int | None) -> Columns:
    """Return one page of a search's candidates.

    Args:
        owner: the search's row.
        asked: columns, each a measurement's ``name`` or ``name:split``; the objectives if empty.
        after: id of the candidate before the first one to return.
        limit: largest number of candidates; None for all.

    Raises:
        UsageError: a column that is measured neither on a candidate nor on the dense model.
    """
    names = list(dict.fromkeys(asked)) or [each.measurement for each in objectives_of(owner)]
    kinds = dict(zip(names, _kinds(session, owner, names), strict=True))
    rows = session.execute(
        select(
            _CANDIDATES.id, _CANDIDATES.number, _CANDIDATES.state, _CANDIDATES.parent, _FRONTIER.strict_after
        )
        .select_from(
            table(CandidateRow).outerjoin(table(FrontierRow), _FRONTIER.candidate_id == _CANDIDATES.id)
        )
        .where(_CANDIDATES.search_id == owner.id, _CANDIDATES.id > after)
        .order_by(_CANDIDATES.id)
        .limit(None if limit is None else limit + 1)
    ).all()
    more = limit is not None and len(rows) > limit
    ids, trials, states, parents, strict = zip(*rows[:limit], strict=True) if rows else ((),) * 5
    return Columns(
        owner.name,
        owner.frontier_version,
        ids,
        trials,
        states,
        tuple(each is True for each in strict),
        parents,
        _filled(session, kinds, ids),
        ids[-1] if more else None,
    )


def _filled(session: Session, kinds: dict[str, _Kind], ids: Sequence[int]) -> dict[str, Column]:
    """Return the columns of some candidates, read in one pass over their measurements."""
    into: dict[tuple[str, str], tuple[list[float | None], ...]] = {}
    for kind in kinds.values():
        lists: tuple[list[float | None], ...] = tuple([None] * len(ids) for _ in range(3))
        for split in kind.splits:
            lists = into.setdefault((kind.name, split), lists)
    place = {identifier: position for position, identifier in enumerate(ids)}
    for identifier, name, split, value, low, high in _measured(session, ids, into):
        # Candidates of other searches may lie between these ids. Filtering by search would make SQLite scan all
        # measurements of the search.
        position, column = place.get(identifier), into.get((name, split))
        if position is not None and column is not None:
            column[0][position], column[1][position], column[2][position] = value, low, high
    return {
        asked: Column(
            kind.name, kind.split, kind.unit, *(_finite(each) for each in into[kind.name, kind.splits[0]])
        )
        for asked, kind in kinds.items()
    }


def _finite(numbers: list[float | None]) -> Numbers:
    if math.inf in numbers or -math.inf in numbers:
        return tuple(None if each is None or math.isinf(each) else each for each in numbers)
    return tuple(numbers)


def _measured(session: Session, ids: Sequence[int], kinds: Collection[tuple[str, str]]) -> Any:
    if not ids:
        return ()
    return session.execute(
        select(
            _MEASUREMENTS.candidate_id,
            _MEASUREMENTS.name,
            _MEASUREMENTS.split,
            _MEASUREMENTS.value,
            _MEASUREMENTS.low,
            _MEASUREMENTS.high,
        ).where(
            _MEASUREMENTS.candidate_id.between(ids[0], ids[-1]),
            _MEASUREMENTS.name.in_(sorted({name for name, _ in kinds})),
            _MEASUREMENTS.split.in_(sorted({split for _, split in kinds})),
        )
    )


def _kinds(session: Session, owner: SearchRow, asked: Sequence[str]) -> list[_Kind]:
    """Resolve the requested columns. Raises `UsageError` that lists the available ones."""
    found = [_kind(session, owner, each) for each in asked]
    unknown = [name for name, kind in zip(asked, found, strict=True) if kind is None]
    if unknown:
        listed = ", ".join(dict.fromkeys(_names(session, owner))) or "nothing yet"
        raise UsageError(
            f"no column {', '.join(unknown)}: neither a candidate nor the dense model of search '{owner.name}' "
            f"has it measured; measured are {listed}"
        )
    return [kind for kind in found if kind is not None]


def _kind(session: Session, owner: SearchRow, asked: str) -> _Kind | None:
    head, _, tail = asked.rpartition(":")
    split = tail if head and tail in SPLITS[1:] else None
    name = measurement_name(asked if split is None else head)
    splits = SEARCHED_SPLITS if split in (None, "validation") else (tail,)
    # One index probe that returns one row.
    some = (
        select(_MEASUREMENTS.id)
        .where(_MEASUREMENTS.search_id == owner.id, _MEASUREMENTS.name == name)
        .where(_MEASUREMENTS.split.in_(splits))
        .limit(1)
        .scalar_subquery()
    )
    row = session.execute(
        select(_MEASUREMENTS.split, _MEASUREMENTS.unit).where(_MEASUREMENTS.id == some)
    ).one_or_none()
    if row is not None:
        return _Kind(name, splits, *row)
    for each in owner.dense:
        own = each["split"] or COST_SPLIT
        if each["name"] == name and own in splits:
            return _Kind(name, splits, own, each["unit"])
    for objective in objectives_of(owner):
        own = COST_SPLIT if objective.is_cost else "validation"
        if objective.measurement == name and own in splits:
            # Nothing is measured yet.
            return _Kind(name, splits, own, objective.unit)
    return None


def _names(session: Session, owner: SearchRow) -> Iterator[str]:
    """Iterate over the available columns; each costs one index probe."""
    for each in owner.dense:
        yield _named(each["name"], each["split"] or COST_SPLIT)
    name, split = "", ""
    key = (_MEASUREMENTS.name, _MEASUREMENTS.split)
    wanted = select(*key).where(_MEASUREMENTS.search_id == owner.id).order_by(*key).limit(1)
    while True:
        later = and_(_MEASUREMENTS.name == name, _MEASUREMENTS.split > split)
        row = session.execute(wanted.where(later)).one_or_none()
        row = row or session.execute(wanted.where(_MEASUREMENTS.name > name)).one_or_none()
        if row is None:
            return
        name, split = row
        yield _named(name, split)


def _named(name: str, split: str) -> str:
    return name if split in SEARCHED_SPLITS else f"{name}:{split}"
