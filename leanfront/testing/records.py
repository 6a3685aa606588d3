"""Searches, trials and candidates with made-up values, for tests of stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.objectives.measurement import Measurement
from leanfront.core.objectives.metrics import METRICS
from leanfront.core.objectives.objective import resolve
from leanfront.core.search.candidate import Candidate, SearchRecord, TrialRecord
from leanfront.core.search.store_protocol import Store

NAME = "mine"
"""Default name of the search."""


def search(name: str = NAME, objectives: str = "accuracy,memory,macs", **changes: Any) -> SearchRecord:
    """Return a search that can be stored; `changes` replace its other fields."""
    names = tuple(objective.name for objective in resolve(objectives))
    fields: dict[str, Any] = {
        "target": "digits",
        "fingerprint": "f" * 64,
        "objectives": names,
        "reference": dict.fromkeys(names, 1.0),
        "settings": {
            "cheapest": {"memory_bytes": 1.0, "macs": 2.0},
            "options": {"trials": 4, "bits": [2, 4], "metrics": []},
        },
    }
    return SearchRecord(name=name, **{**fields, **changes})


def configuration(key: int) -> Configuration:
    """Return a configuration; equal keys give equal configurations."""
    return Configuration(channels={"group": key + 1}, weight_bits={"layer": 4})


def measurements(values: Mapping[str, float | None]) -> tuple[Measurement, ...]:
    """Return metrics as measured on the validation split and everything else as costs; None is not measured."""
    return tuple(
        Measurement(name, value, "validation" if name in METRICS else "")
        for name, value in values.items()
        if value is not None
    )


def candidate(key: int, values: Mapping[str, float | None], **changes: Any) -> Candidate:
    """Return a candidate with the configuration of `key` and these measurements."""
    fields = {"configuration": configuration(key), "measurements": measurements(values)}
    return Candidate(search=NAME, number=key, **{**fields, **changes})


def point(key: int, accuracy: float, memory: float, macs: float, **more: float) -> Candidate:
    """Return a candidate with these objectives, and further measurements by name."""
    return candidate(key, {"accuracy": accuracy, "memory_bytes": memory, "macs": macs, **more})


def trial(number: int, **changes: Any) -> TrialRecord:
    """Return a trial of one parameter."""
    return TrialRecord(number, **{"parameters": {"bits": number}, "attributes": {}, **changes})


def fill(store: Store, points: Iterable[tuple[float, float, float]], name: str = NAME) -> None:
    """Store a search with one candidate for each triple of accuracy, bytes and MACs."""
    store.create_search(search(name))
    for number, values in enumerate(points):
        store.record(name, trial(number), point(number, *values))
