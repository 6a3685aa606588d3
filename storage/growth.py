"""Growth of a search's frontier over its trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from leanfront.core.objectives.dominance import nondominated, normalised_hypervolume
from leanfront.core.objectives.objective import Objective
from leanfront.core.storage.records import objectives_of
from leanfront.core.storage.tables import CandidateRow, SearchRow, TrialRow, table

Floats = NDArray[np.float64]
LARGEST = {5: 2_000, 6: 300}
"""Number of objectives -> frontier size above which the exact hypervolume takes more than about 50 ms."""

_CANDIDATES = table(CandidateRow)
_TRIALS = table(TrialRow)


@dataclass(frozen=True)
class Growth:
    """Hypervolume and size of a search's frontier after several trials; empty until the target has been loaded.

    Args:
        search: name of the search.
        frontier_version: version of the frontier when the curve was computed.
        trials: (n,) number of trials stored, rising.
        hypervolume: (n,) hypervolume after these trials, costs divided by the reference.
        hypervolume_log2: (n,) the same with costs as log2(reference / cost).
        frontier_size: (n,) number of members.
    """

    search: str
    frontier_version: int
    trials: tuple[int, ...]
    hypervolume: tuple[float, ...]
    hypervolume_log2: tuple[float, ...]
    frontier_size: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "search": self.search,
            "frontier_version": self.frontier_version,
            "trials": self.trials,
            "hypervolume": self.hypervolume,
            "hypervolume_log2": self.hypervolume_log2,
            "frontier_size": self.frontier_size,
        }


def growth(session: Session, owner: SearchRow, points: int) -> Growth:
    """Compute the growth of the frontier of all candidates at places spread over the trials, including the last.

    A recovered candidate counts from the trial after which it was stored. Places are left out if computing the
    hypervolume would take long; the last place has the stored hypervolumes.

    Args:
        owner: the search's row.
        points: largest number of places.

    Source: hypervolume as `leanfront.core.objectives.normalised_hypervolume`.
    """
    objectives = objectives_of(owner)
    if not owner.trials or any(each.name not in owner.reference for each in objectives):
        return Growth(owner.name, owner.frontier_version, (), (), (), ())
    signs = np.array([-1.0 if each.maximise else 1.0 for each in objectives])
    sequences, values = _complete(session, owner.id, len(objectives))
    places = np.unique(np.linspace(1, owner.trials, points).round().astype(np.int64))
    front, start = values[:0], 0
    volumes: tuple[float, float] | None = (0.0, 0.0)
    found: list[tuple[int, float, float, int]] = []
    for place in places.tolist():
        end = int(np.searchsorted(sequences, place, side="right"))
        larger = np.concatenate([front, values[start:end]])
        start, before = end, front
        front = larger[nondominated(larger * signs)]
        if not np.array_equal(front, before):
            volumes = _volumes(front, objectives, owner)
        if volumes is None and place == owner.trials:
            volumes = owner.hypervolume, owner.hypervolume_log2
        if volumes is not None:
            found.append((place, *volumes, len(front)))
    trials, linear, halvings, sizes = zip(*found, strict=True)
    return Growth(owner.name, owner.frontier_version, trials, linear, halvings, sizes)


def _volumes(front: Floats, objectives: Sequence[Objective], owner: SearchRow) -> tuple[float, float] | None:
    """Compute both hypervolumes of a front; None if that would take long."""
    if len(front) > LARGEST.get(len(objectives), len(front)):
        return None
    return (
        normalised_hypervolume(front, objectives, owner.reference, log2=False),
        normalised_hypervolume(front, objectives, owner.reference, log2=True),
    )


def _complete(session: Session, search: int, objectives: int) -> tuple[NDArray[np.int64], Floats]:
    """Return for the complete candidates the trial count when each was stored (n,) and the objectives (n, m)."""
    candidates, trials = _CANDIDATES.c, _TRIALS.c
    rows: Sequence[Any] = session.execute(
        select(trials.sequence, candidates.objective_values)
        .select_from(
            _CANDIDATES.outerjoin(
                _TRIALS, and_(trials.candidate_id == candidates.id, trials.duplicate.is_(False))
            )
        )
        .where(candidates.search_id == search, candidates.state == "complete")
        .order_by(candidates.id)
    ).all()
    # A recovered candidate has no trial: it counts with the trial stored before it.
    sequences = np.array([row[0] or 1 for row in rows], dtype=np.int64)
    values = np.array([row[1] for row in rows], dtype=np.float64).reshape(len(rows), objectives)
    return np.maximum.accumulate(sequences), values
