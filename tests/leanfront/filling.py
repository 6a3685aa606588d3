"""Searches of made-up trials: for what asks a database and runs no model."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import numpy as np

from leanfront.core.audit.kinds.classes.class_impact import class_impact
from leanfront.core.audit.kinds.classes.subgroups import long_tail
from leanfront.core.compressors.configuration import Configuration
from leanfront.core.objectives import METRICS, Measurement, resolve
from leanfront.core.search import Candidate, Claim, SearchRecord, TrialRecord, Verification
from leanfront.core.storage import AuditRecord, FrontierStore


class Fill:
    """Makes searches of made-up trials."""

    @staticmethod
    def record(name: str = "mine", **changes: Any) -> SearchRecord:
        names = tuple(objective.name for objective in resolve("accuracy,memory,macs"))
        dense = (
            Measurement("accuracy", 0.95, "validation", 0.93, 0.97, 500),
            Measurement("memory_bytes", 2_000_000.0, unit="byte"),
            Measurement("macs", 2e7, unit="MAC"),
        )
        fields: dict[str, Any] = {
            "target": "digits",
            "fingerprint": "f" * 64,
            "objectives": names,
            "reference": {"accuracy": 0.1, "memory": 2e6, "macs": 2e7},
            "settings": {"cheapest": {"memory_bytes": 1000.0, "macs": 2000.0}, "options": {"trials": 200}},
            "dense": dense,
            "coverage": {"parameters": 10, "memory_bytes": 40, "macs": 5, "quantisable_bytes": 0.5}
            | {
                "prunable_bytes": 0.5,
                "quantisable_macs": 0.5,
                "prunable_macs": 0.5,
                "groups": [{"name": "group", "units": 10**6, "members": ["layer (out)"]}],
            }
            # As an earlier release told it: it said less of layers.
            | {"layers": [{"name": "layer", "kind": "linear", "weights": 9, "macs": 5, "groups": ["group"]}]}
            | {"exclusions": [], "unsupported_operators": {}},
        }
        return SearchRecord(name=name, **{**fields, **changes})

    @staticmethod
    def point(number: int, accuracy: float, memory: float, macs: float, **more: float) -> Candidate:
        values = {"accuracy": accuracy, "memory_bytes": memory, "macs": macs, **more}
        units = {"memory_bytes": "byte", "macs": "MAC", "file_bytes": "byte"}
        measurements = tuple(
            Measurement(name, value, "validation", value - 0.01, value + 0.01, 500)
            if name in METRICS
            else Measurement(name, value, unit=units.get(name, "1"))
            for name, value in values.items()
        )
        configuration = Configuration(channels={"group": number + 1}, weight_bits={"layer": 2 + number % 7})
        return Candidate("mine", number, configuration, measurements=measurements, seconds=0.5)

    @classmethod
    def trade_off(cls, count: int, start: int = 0) -> list[Candidate]:
        """Candidates around a trade-off: about half of them dominated."""
        draw = random.Random(start)
        found = []
        for number in range(start, start + count):
            memory = round(10 ** draw.uniform(4, 6))
            accuracy = 0.3 + 0.1 * math.log10(memory) + draw.uniform(-0.01, 0.01)
            more = {"file_bytes": memory + 300.0, "cross_entropy": round(1 - accuracy, 6)}
            found.append(cls.point(number, accuracy, memory, memory * draw.randint(9, 11), **more))
        return found

    @staticmethod
    def trials(store: FrontierStore, candidates: list[Candidate], name: str = "mine") -> list[Candidate]:
        entries = [(TrialRecord(each.number, {"bits": each.number}), each, None) for each in candidates]
        return store.record_many(name, [(t, dataclasses.replace(c, search=name), b) for t, c, b in entries])

    @staticmethod
    def audits(name: str, candidate: int | None) -> list[AuditRecord]:
        """What `classes` finds of made-up answers of three models to 60 samples: of a search, and of a candidate."""
        draw = np.random.default_rng(0)
        labels = np.arange(60) % 3
        dense, own = (np.where(draw.random((3, 60)) < share, labels, 0) for share in (0.9, 0.6))
        impact = class_impact(dense, own, labels, ["a", "b", "c"])
        tail = {"long_tail": long_tail(impact, labels).to_json(), "attributes": {}}
        version = {"version": "candidate 1", "candidate": candidate, **impact.to_json(), **tail}
        about = {"split": "test", "samples": 60, "frequencies": "test"}
        whole = AuditRecord(name, "classes", {**about, "versions": [version]}, None, {"models": 3}, "1.0")
        return [whole, dataclasses.replace(whole, document={**about, **version}, candidate=candidate)]

    @classmethod
    def search(
        cls, store: FrontierStore, count: int = 40, name: str = "mine", **changes: Any
    ) -> SearchRecord:
        """A finished search of so many trials."""
        store.create_search(cls.record(name, **changes))
        if count:
            cls.trials(store, cls.trade_off(count), name)
            claims = (Claim("macs", 5.0, 5.0, unit="MAC"), Claim("accuracy", 0.9, None, "validation", 0.002))
            for candidate in (next(store.candidates(name)), store.frontier(name)[0]):
                assert candidate.id is not None
                store.add_verification(Verification(candidate.id, claims, {"latency_ms": "no"}, "1.0"))
            first = next(store.candidates(name)).id
            store.add_audits(cls.audits(name, first))
        store.set_hypervolume(name, 0.5, 2.5)
        store.set_state(name, "done", f"{count} trials")
        return store.search(name)
