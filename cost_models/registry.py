"""The registry of cost models: what a configuration costs, known before it is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leanfront.core.compressors import Configuration
from leanfront.core.cost_models.profile import Profile

Cost = Callable[[Configuration], float]


@dataclass(frozen=True)
class CostModel:
    """One cost of a configuration; lower is better.

    Args:
        name: the measurement's name, unit included where it is not obvious (``memory_bytes``).
        alias: the objective's short name (``memory``).
        unit: unit of the value.
        build: looks at the dense model's profile once and returns the fast function of a configuration.
        source: where the definition comes from, one line.
        measures: whether building it takes long, because it runs the model: it is built only where asked for.
        measured: names of measurements that some candidates have beside the predicted value.
    """

    name: str
    alias: str
    unit: str
    build: Callable[[Profile], Cost]
    source: str
    measures: bool = False
    measured: tuple[str, ...] = ()


COST_MODELS: dict[str, CostModel] = {}
"""Cost models by measurement name."""


def register(model: CostModel) -> CostModel:
    """Add a cost model to the registry; its name and alias must be free."""
    taken = {name for known in COST_MODELS.values() for name in (known.name, known.alias)}
    if model.name in taken or model.alias in taken:
        raise ValueError(f"cost model '{model.name}' ({model.alias}) is registered already")
    COST_MODELS[model.name] = model
    return model
