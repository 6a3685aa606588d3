"""Conversion between rows of the tables and records of the search."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.objectives.measurement import SEARCHED_SPLITS, Measurement
from leanfront.core.objectives.objective import Objective
from leanfront.core.search.candidate import Candidate, SearchRecord, TrialRecord
from leanfront.core.search.verification import Claim, Verification
from leanfront.core.storage.tables import SearchRow, TrialRow, VerificationRow, now
from leanfront.errors import UsageError


def objectives_of(row: SearchRow) -> tuple[Objective, ...]:
    """Return the objectives of a search as they were when it was created."""
    return tuple(Objective(**each) for each in row.objectives)


def search_row(record: SearchRecord, objectives: Sequence[Objective]) -> SearchRow:
    """Return the row of a new search, with all counters 0."""
    return SearchRow(
        name=record.name,
        target=plain(record.target),
        fingerprint=record.fingerprint,
        objectives=[asdict(objective) for objective in objectives],
        reference=dict(record.reference),
        settings=dict(record.settings),
        seed=record.seed,
        dense=[measurement.to_json() for measurement in record.dense],
        coverage=dict(record.coverage),
        artifact=record.artifact,
        state=record.state,
        message=None if record.message is None else plain(record.message),
        trials=0,
        frontier_size=0,
        hypervolume=0.0,
        hypervolume_log2=0.0,
    )


def search_record(row: SearchRow) -> SearchRecord:
    """Return the record of a search's row."""
    return SearchRecord(
        name=row.name,
        target=row.target,
        fingerprint=row.fingerprint,
        objectives=tuple(str(each["name"]) for each in row.objectives),
        reference=row.reference,
        settings=row.settings,
        seed=row.seed,
        dense=tuple(Measurement.from_json(each) for each in row.dense),
        coverage=row.coverage,
        artifact=row.artifact,
        state=row.state,
        message=row.message,
        trials=row.trials,
        frontier_size=row.frontier_size,
        hypervolume=row.hypervolume,
        hypervolume_log2=row.hypervolume_log2,
        created=row.created.isoformat(),
        id=row.id,
        frontier_version=row.frontier_version,
    )


def candidate_values(candidate: Candidate, search: int, values: Sequence[float] | None) -> dict[str, Any]:
    """Return the columns of a new candidate's row, without checking its state or values."""
    return {
        "search_id": search,
        "number": candidate.number,
        "configuration_digest": candidate.configuration.digest,
        "configuration": candidate.configuration.to_json(),
        "state": candidate.state,
        "reason": candidate.reason,
        "kept": {group: [int(index) for index in indices] for group, indices in candidate.kept.items()},
        "objective_values": None if values is None else [float(value) for value in values],
        "parent": candidate.parent,
        "seconds": float(candidate.seconds),
        "created": now(),
    }


def candidate_record(row: Any, measurements: Iterable[Any]) -> Candidate:
    """Return the record of a candidate's row of the `candidates.wanted` query."""
    return Candidate(
        search=row.search,
        number=row.number,
        configuration=Configuration.from_json(row.configuration),
        state=row.state,
        reason=row.reason,
        measurements=tuple(_measurement(each) for each in measurements),
        kept={group: tuple(indices) for group, indices in row.kept.items()},
        on_frontier=bool(row.strict_after),
        parent=row.parent,
        seconds=row.seconds,
        id=row.id,
        verified=row.verified,
    )


def measurement_values(measurement: Measurement, search: int, candidate: int) -> dict[str, Any]:
    """Return the columns of a measurement's row."""
    return {
        "candidate_id": candidate,
        "search_id": search,
        "name": measurement.name,
        "split": measurement.split,
        **numbers(measurement),
    }


def numbers(measurement: Measurement) -> dict[str, Any]:
    """Return the columns that a repeated measurement overwrites."""
    return {
        "value": _number(measurement.value),
        "low": None if measurement.low is None else _number(measurement.low),
        "high": None if measurement.high is None else _number(measurement.high),
        "count": measurement.count,
        "unit": measurement.unit,
    }


def _measurement(row: Any) -> Measurement:
    value = math.nan if row.value is None else row.value
    return Measurement(row.name, value, row.split, row.low, row.high, row.count, row.unit)


def verification_values(verification: Verification, candidate: int) -> dict[str, Any]:
    """Return the columns of a verification's row."""
    return {
        "candidate_id": candidate,
        "ok": verification.ok,
        "claims": [_plain_claim(claim) for claim in verification.claims],
        "unchecked": {name: plain(why) for name, why in verification.unchecked.items()},
        "release": verification.release,
        "created": now(),
    }


def _plain_claim(claim: Claim) -> dict[str, Any]:
    """Return the JSON of a claim; values found in a damaged file may be any text."""
    return {key: plain(value) if isinstance(value, str) else value for key, value in claim.to_json().items()}


def verification_record(row: VerificationRow) -> Verification:
    """Return the record of a verification's row."""
    return Verification(
        candidate=row.candidate_id,
        claims=tuple(Claim.from_json(each) for each in row.claims),
        unchecked=row.unchecked,
        release=row.release,
        created=row.created.isoformat(),
    )


def trial_record(row: TrialRow, values: Sequence[float] | None, state: str) -> TrialRecord:
    """Return the record of a trial's row, given its candidate's objective values and state."""
    return TrialRecord(
        number=row.number,
        parameters=row.parameters,
        attributes=row.attributes,
        candidate=row.candidate_id,
        values=None if values is None else tuple(float(value) for value in values),
        duplicate=row.duplicate,
        stopped=state == "stopped",
    )


def require_distinct(measurements: Iterable[Measurement]) -> None:
    """Refuse measurements that contradict each other.

    Raises:
        UsageError: a name occurs twice on one split, or both as a cost and on the validation split.
    """
    seen: set[tuple[str, str]] = set()
    for measurement in measurements:
        # A limit applies to the cost or to the value on the validation split, so only one of the two may exist.
        key = (measurement.name, "" if measurement.split in SEARCHED_SPLITS else measurement.split)
        if key in seen:
            where = f"on the {key[1]} split" if key[1] else "as a cost or on the validation split"
            raise UsageError(f"'{measurement.name}' is measured twice {where}: store one value")
        seen.add(key)


def plain(text: Any) -> str:
    """Replace what databases cannot hold in text (invalid Unicode, NUL) by ``?``."""
    return str(text).encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
