"""JSON objects shared by the command line and the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leanfront.core.search import Candidate, SearchRecord


def frontier_json(
    record: SearchRecord, candidates: Sequence[Candidate], stage: str = "after"
) -> dict[str, Any]:
    """Return the FRONTIER object of the command line and the API; hypervolumes are those after recovery."""
    return {
        "search": record.name,
        "stage": stage,
        "dense": {"measurements": [m.to_json() for m in record.dense]}
        | {m.name: m.to_json()["value"] for m in record.dense if m.split in ("", "validation")},
        "reference": dict(record.reference),
        "hypervolume": record.hypervolume,
        "hypervolume_log2": record.hypervolume_log2,
        "candidates": [candidate.to_json() for candidate in candidates],
    }


def comparison_json(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Return candidates side by side; each list has one entry per candidate, null where a value is missing.

    ``choices`` lists only differences between their configurations.
    """
    measured: dict[tuple[str, str], str] = {}
    for candidate in candidates:
        for each in candidate.measurements:
            measured.setdefault((each.name, each.split), each.unit)
    rows = []
    for (name, split), unit in measured.items():
        found = [candidate.measurement(name, split) for candidate in candidates]
        shown = [None if each is None else each.to_json() for each in found]
        rows.append(
            {"name": name, "split": split or None, "unit": unit}
            | {
                key: [None if each is None else each[key] for each in shown]
                for key in ("value", "low", "high")
            }
        )
    return {
        "ids": [candidate.id for candidate in candidates],
        "searches": [candidate.search for candidate in candidates],
        "measurements": rows,
        "choices": _differences([candidate.configuration.to_json() for candidate in candidates]),
    }


def _differences(configurations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    # Not all have all keys: only recovered ones have training settings.
    for key in dict.fromkeys(key for configuration in configurations for key in configuration):
        values = [configuration.get(key) for configuration in configurations]
        tables = [value for value in values if isinstance(value, dict)]
        if len(tables) < len(values):
            if any(value != values[0] for value in values):
                rows.append({"choice": key, "of": None, "values": values})
            continue
        for part in sorted({name for table in tables for name in table}):
            chosen = [table.get(part) for table in tables]
            if any(value != chosen[0] for value in chosen):
                rows.append({"choice": key, "of": part, "values": chosen})
    return rows
