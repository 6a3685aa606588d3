"""Registry of cost models, which compute the costs of a configuration before it is evaluated.

It holds specifications; the code that computes a cost is imported when the cost is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leanfront.core.compressors.configuration import Configuration
from leanfront.deferred import Deferred

if TYPE_CHECKING:
    from leanfront.core.cost_models.profile import Profile

Cost = Callable[[Configuration], float]

LATENCY = "latency_ms"
P50, P95 = "latency_p50_ms", "latency_p95_ms"
"""Latencies measured for some candidates, besides the predicted latency that all have."""


@dataclass(frozen=True)
class CostModel:
    """One cost of a configuration; lower is better.

    Args:
        name: the measurement's name, unit included where it is not obvious (``memory_bytes``).
        alias: the objective's short name (``memory``).
        unit: unit of the value.
        build: function of the dense model's profile that returns a fast function of a configuration.
        source: where the definition comes from, one line.
        measures: whether building it takes long, because it runs the model; it is then built only on request.
        measured: names of measurements that some candidates have besides the predicted value.
    """

    name: str
    alias: str
    unit: str
    build: Callable[[Profile], Cost]
    source: str
    measures: bool = False
    measured: tuple[str, ...] = ()


_HERE = "leanfront.core.cost_models"

COST_MODELS: dict[str, CostModel] = {
    model.name: model
    for model in (
        CostModel(
            "macs",
            "macs",
            "MAC",
            Deferred(f"{_HERE}.macs:MacModel"),
            "fvcore FlopCountAnalysis, one multiply-add is one",
        ),
        CostModel(
            "bops",
            "bops",
            "bit operation",
            Deferred(f"{_HERE}.macs:bops"),
            "MACs x weight bits x activation bits, layers only",
        ),
        CostModel(
            "sparse_macs",
            "sparse_macs",
            "MAC",
            Deferred(f"{_HERE}.macs:sparse_macs"),
            "MACs if kernels skip stored zeros (assumption)",
        ),
        CostModel(
            LATENCY,
            "latency",
            "ms",
            Deferred(f"{_HERE}.latency:latency"),
            "one run on this machine: fitted to measured configurations, error stored with the search",
            measures=True,
            measured=(P50, P95),
        ),
        CostModel(
            "memory_bytes",
            "memory",
            "byte",
            Deferred(f"{_HERE}.memory:memory_bytes"),
            "data section of the packed artifact (compressors/artifact/layout.py)",
        ),
        CostModel(
            "file_bytes",
            "file_size",
            "byte",
            Deferred(f"{_HERE}.memory:file_bytes"),
            "whole packed artifact (compressors/artifact/layout.py)",
        ),
        CostModel(
            "activation_memory_bytes",
            "activation_memory",
            "byte",
            Deferred(f"{_HERE}.memory:activation_memory_bytes"),
            "peak of live activation storages, batch 1, eager execution",
        ),
    )
}
"""Cost models by measurement name. To add one, write a function and an entry here."""


def register(model: CostModel) -> CostModel:
    """Add a cost model to the registry.

    Raises:
        ValueError: its name or alias is taken.
    """
    taken = {name for known in COST_MODELS.values() for name in (known.name, known.alias)}
    if model.name in taken or model.alias in taken:
        raise ValueError(f"cost model '{model.name}' ({model.alias}) is registered already")
    COST_MODELS[model.name] = model
    return model
