"""The frontier in pages, and the neighbours of a candidate on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.measurement import SEARCHED_SPLITS
from leanfront.core.objectives.metrics import METRICS
from leanfront.core.objectives.objective import Objective, measurement_name
from leanfront.core.search.candidate import Candidate, SearchRecord
from leanfront.core.storage.frontier import Front, natural
from leanfront.core.storage.memory import Known
from leanfront.core.storage.tables import FrontierRow, MeasurementRow
from leanfront.errors import UsageError

Floats = NDArray[np.float64]
TIES = ("memory_bytes", "macs", "accuracy")
"""Measurements that break ties in a page's order, followed by the id."""
SCALES = {"byte": 1e3, "MAC": 1e6}
"""Unit of a cost -> amount per which a gain is reported: accuracy per KB, per million MACs."""


@dataclass(frozen=True)
class Page:
    """A page of frontier members.

    Args:
        candidates: candidates in the requested order.
        last: position of the last one, to request the next page; None if there are no more.
        search: the search when the page was read.
    """

    candidates: tuple[Candidate, ...]
    last: tuple[float, ...] | None
    search: SearchRecord


@dataclass(frozen=True)
class Step:
    """The step from a candidate to a neighbouring frontier member.

    Args:
        candidate: the neighbour.
        accuracy: accuracy of the neighbour minus that of the candidate.
        cost: cost of the neighbour minus that of the candidate, in the cost's unit.
        rate: `accuracy` / `cost`, per 1,000 bytes or per million MACs; None if the costs are equal.
    """

    candidate: Candidate
    accuracy: float
    cost: float
    rate: float | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "candidate": self.candidate.to_json(),
            "accuracy": self.accuracy,
            "cost": self.cost,
            "rate": self.rate,
        }


@dataclass(frozen=True)
class Neighbours:
    """The frontier members next to a candidate, for each cost objective.

    Args:
        candidate: the candidate.
        cheaper: measurement name of the cost -> the most expensive member that costs less, or None.
        better: measurement name of the cost -> the cheapest member that is more accurate, or None.
    """

    candidate: Candidate
    cheaper: Mapping[str, Step | None]
    better: Mapping[str, Step | None]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""

        def steps(side: Mapping[str, Step | None]) -> dict[str, Any]:
            return {name: None if step is None else step.to_json() for name, step in side.items()}

        return {
            "candidate": self.candidate.id,
            "cheaper": steps(self.cheaper),
            "better": steps(self.better),
        }


@dataclass(frozen=True)
class Asked:
    """A requested page; see `FrontierReader.frontier_page` for the fields."""

    budget: Budget
    weak: bool
    stage: str
    order_by: str
    limit: int | None
    after: Sequence[float] | None


def page(
    session: Session, known: Known, front: Front, asked: Asked
) -> tuple[list[int], tuple[float, ...] | None]:
    """Return the ids of a page of members, and the position of its last one."""
    budget, objectives = asked.budget, known.objectives
    members = front if asked.weak else front.strictly()
    values = natural(members, objectives)
    inside = np.ones(len(members.ids), dtype=np.bool_)
    for limits, sign in ((budget.maximum, 1.0), (budget.minimum, -1.0)):
        for name, bound in limits.items():
            own = values[name] if name in values else _measured(session, known, members.ids, name)
            inside &= sign * own <= sign * bound
    keys = [
        _key(session, known, members.ids, values, name)
        for name in dict.fromkeys((measurement_name(asked.order_by), *TIES))
    ]
    keys.append(members.ids.astype(np.float64))
    if asked.after is not None:
        inside &= _behind(keys, asked.after)
    places = np.flatnonzero(inside)
    order = places[np.lexsort([key[places] for key in reversed(keys)])]
    shown = order if asked.limit is None else order[: asked.limit]
    more = len(shown) < len(order) and len(shown) > 0
    last = tuple(float(key[shown[-1]]) for key in keys) if more else None
    return members.ids[shown].tolist(), last


def _key(
    session: Session,
    known: Known,
    ids: NDArray[np.int64],
    values: Mapping[str, Floats],
    name: str,
) -> Floats:
    """Return (n,) keys that rise from the best member to the worst; infinite where not measured."""
    for objective in known.objectives:
        if objective.measurement == name:
            return -values[name] if objective.maximise else values[name]
    found = _measured(session, known, ids, name)
    missing = np.isnan(found)
    if missing.all() and name not in TIES and len(ids):
        names = ", ".join(objective.name for objective in known.objectives)
        raise UsageError(f"cannot order by {name!r}: it is not measured; the objectives are {names}")
    sign = -1.0 if name in METRICS and METRICS[name].maximise else 1.0
    return np.where(missing, math.inf, sign * found)


def _measured(session: Session, known: Known, ids: NDArray[np.int64], name: str) -> Floats:
    """Return (n,) values of a measurement that is not an objective; NaN where not measured."""
    rows = session.execute(
        select(MeasurementRow.candidate_id, MeasurementRow.value)
        .join(FrontierRow, FrontierRow.candidate_id == MeasurementRow.candidate_id)
        .where(FrontierRow.search_id == known.id)
        .where(MeasurementRow.name == name, MeasurementRow.split.in_(SEARCHED_SPLITS))
    )
    found = {candidate: value for candidate, value in rows if value is not None}
    return np.array([found.get(each, math.nan) for each in ids.tolist()], dtype=np.float64)


def _behind(keys: Sequence[Floats], after: Sequence[float]) -> NDArray[np.bool_]:
    if len(after) != len(keys):
        raise UsageError("this page does not belong to this order of the frontier: start from the first page")
    behind = np.zeros(len(keys[0]), dtype=np.bool_)
    level = ~behind
    for key, value in zip(keys, after, strict=True):
        behind |= level & (key > value)
        level &= key == value
    return behind


def neighbours(
    candidate: Candidate, front: Front, objectives: Sequence[Objective]
) -> dict[str, tuple[int | None, int | None]]:
    """Map each cost to the ids of the next cheaper and the next better member of a strict front."""
    found: dict[str, tuple[int | None, int | None]] = {}
    values = natural(front, objectives)
    accuracies = values.get("accuracy")
    own = candidate.accuracy
    for objective in objectives:
        costs, cost = values[objective.measurement], candidate.value(objective.measurement)
        if not objective.is_cost or accuracies is None or own is None or cost is None:
            continue
        cheaper, better = costs < cost, accuracies > own
        found[objective.measurement] = (
            _first(front.ids, cheaper, (-costs, -accuracies)),
            _first(front.ids, better, (costs, -accuracies)),
        )
    return found


def _first(ids: NDArray[np.int64], among: NDArray[np.bool_], keys: Sequence[Floats]) -> int | None:
    places = np.flatnonzero(among)
    if not len(places):
        return None
    order = np.lexsort([ids[places], *(key[places] for key in reversed(keys))])
    return int(ids[places[order[0]]])


def between(
    candidate: Candidate,
    found: Mapping[str, tuple[int | None, int | None]],
    full: Mapping[int, Candidate],
    objectives: Sequence[Objective],
) -> Neighbours:
    """Compute the steps to the members found by `neighbours`."""
    units = {objective.measurement: objective.unit for objective in objectives}

    def step(name: str, identifier: int | None) -> Step | None:
        if identifier is None:
            return None
        other = full[identifier]
        accuracy = (other.accuracy or 0.0) - (candidate.accuracy or 0.0)
        cost = (other.value(name) or 0.0) - (candidate.value(name) or 0.0)
        rate = accuracy / cost * SCALES.get(units[name], 1.0) if cost else None
        return Step(other, accuracy, cost, rate)

    return Neighbours(
        candidate,
        {name: step(name, cheaper) for name, (cheaper, _) in found.items()},
        {name: step(name, better) for name, (_, better) in found.items()},
    )
