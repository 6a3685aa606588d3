"""Frontiers of a search widened by limited measurements that are not objectives.

A dominated candidate may be the best within a limit on a measurement that is no objective. But a candidate that
another beats in every objective while being no worse in every limited measurement is never the answer, since the
other meets every limit that it meets. What remains is a frontier with a few more members. It is built from all
candidates at the first query with these limits and kept in memory; later queries read only newer candidates.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session, aliased

from leanfront.core.objectives.measurement import SEARCHED_SPLITS
from leanfront.core.storage.memory import Known
from leanfront.core.storage.points import of_stage
from leanfront.core.storage.tables import CandidateRow, MeasurementRow

Floats = NDArray[np.float64]
Limited = tuple[str, bool]
"""Name of a measurement, and whether its limit is an upper one."""

MOST_ROWS = 100_000
"""Size above which a widened frontier is not kept, since it would exclude little."""
REMEMBERED = 16
_BLOCK = 1024
_PART = 20_000
_KILLERS = 256


@dataclass(frozen=True, eq=False)
class Wide:
    """A widened frontier; immutable.

    Args:
        measured: `SearchRow.measured_version` of the search when it was built.
        last: id of the last candidate read.
        ids: (n,) member ids.
        vectors: (m, n) objective values in minimisation form.
        extras: (k, n) the limited measurements, negated for lower limits; infinite if not measured.
    """

    measured: int
    last: int
    ids: NDArray[np.int64]
    vectors: Floats
    extras: Floats


@dataclass
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    wide: Wide | None = None
    too_large: bool = False


class WideFronts:
    """Cache of the most recently used widened frontiers; safe for several threads."""

    def __init__(self) -> None:
        self._slots: OrderedDict[tuple[int, str, tuple[Limited, ...]], _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, session: Session, known: Known, limited: Sequence[Limited], stage: str) -> Wide | None:
        """Return the frontier of a stage widened by these measurements; None if it would be too large."""
        key = known.id, stage, tuple(limited)
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > REMEMBERED:
                self._slots.popitem(last=False)
        # One thread reads and the others wait for it.
        with slot.lock:
            if slot.too_large:
                return None
            if slot.wide is None or slot.wide.measured != known.measured:
                empty = np.empty((len(known.objectives), 0)), np.empty((len(limited), 0))
                slot.wide = Wide(known.measured, 0, np.empty(0, dtype=np.int64), *empty)
            slot.wide = _read(session, known, limited, slot.wide, stage)
            slot.too_large = slot.wide is None
            return slot.wide


def _read(session: Session, known: Known, limited: Sequence[Limited], wide: Wide, stage: str) -> Wide | None:
    """Add the candidates stored since a frontier was read."""
    last = session.scalar(select(func.max(CandidateRow.id)).where(CandidateRow.search_id == known.id)) or 0
    if last <= wide.last:
        return wide
    extras = [aliased(MeasurementRow) for _ in limited]
    wanted = select(CandidateRow.id, CandidateRow.objective_values, *(each.value for each in extras)).where(
        CandidateRow.search_id == known.id,
        CandidateRow.id > wide.last,
        CandidateRow.state == "complete",
        *of_stage(stage),
    )
    for each, (name, _) in zip(extras, limited, strict=True):
        own = each.candidate_id == CandidateRow.id
        wanted = wanted.outerjoin(each, and_(own, each.name == name, each.split.in_(SEARCHED_SPLITS)))
    ids, vectors, values = [], [], []
    with session.execute(wanted.order_by(CandidateRow.id).execution_options(yield_per=_PART)) as rows:
        for part in rows.partitions():
            ids.append(np.array([row[0] for row in part], dtype=np.int64))
            vectors.append(np.array([row[1] for row in part], dtype=np.float64))
            values.append(
                np.array([row[2:] for row in part], dtype=np.float64).reshape(len(part), len(limited))
            )
    if not ids:
        return replace(wide, last=last)
    signs = np.array([-1.0 if each.maximise else 1.0 for each in known.objectives])
    sides = np.array([1.0 if upper else -1.0 for _, upper in limited])
    measured = np.concatenate(values) * sides
    return _entered(
        replace(wide, last=last),
        np.concatenate(ids),
        (np.concatenate(vectors) * signs).T,
        np.where(np.isnan(measured), np.inf, measured).T,
    )


def _entered(wide: Wide, ids: NDArray[np.int64], vectors: Floats, extras: Floats) -> Wide | None:
    """Add candidates to a frontier; members that they beat may stay."""
    scale = np.ptp(vectors, axis=1, keepdims=True)
    # Sorted so that no candidate is beaten by a later one.
    order = np.argsort((vectors / np.where(scale > 0, scale, 1.0)).sum(axis=0), kind="stable")
    kept = [(wide.ids, wide.vectors, wide.extras)]
    size = len(wide.ids)
    members = kept[0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        # The best members beat most candidates; only the rest are compared with all.
        for some in (slice(0, _KILLERS), slice(_KILLERS, None)):
            beaten = _beaten(members[1][:, some], members[2][:, some], vectors[:, block], extras[:, block])
            block = block[~beaten]
        block = block[~_beaten(vectors[:, block], extras[:, block], vectors[:, block], extras[:, block])]
        size += len(block)
        if size > MOST_ROWS:
            return None
        if len(block):
            kept.append((ids[block], vectors[:, block], extras[:, block]))
            members = tuple(np.concatenate(parts, axis=-1) for parts in zip(*kept, strict=True))  # type: ignore[assignment]
            kept = [members]
    return Wide(wide.measured, wide.last, *members)


def _beaten(vectors: Floats, extras: Floats, own: Floats, own_extras: Floats) -> NDArray[np.bool_]:
    """Return (b,) which of the candidates are beaten by a member."""
    found = np.zeros(own.shape[1], dtype=np.bool_)
    for start in range(0, vectors.shape[1], 4096):
        some = slice(start, start + 4096)
        beats = np.ones((vectors[:, some].shape[1], own.shape[1]), dtype=np.bool_)
        for row, mine in zip(vectors[:, some], own, strict=True):
            beats &= row[:, None] < mine
        for row, mine in zip(extras[:, some], own_extras, strict=True):
            beats &= row[:, None] <= mine
        found |= beats.any(axis=0)
    return found
