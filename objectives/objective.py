"""Objectives of a search: costs and metrics with a direction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leanfront.core.cost_models.registry import COST_MODELS
from leanfront.core.objectives.measurement import SEARCHED_SPLITS, Measurement
from leanfront.core.objectives.metrics import METRICS
from leanfront.errors import UsageError

FEWEST_OBJECTIVES, MOST_OBJECTIVES = 2, 6
"""Number of objectives of a search: with one there is no trade-off; with more than six nearly every point is
nondominated, and computing the exact hypervolume is slow."""


@dataclass(frozen=True)
class Objective:
    """One objective of a search.

    Args:
        name: short name, as typed and shown (``memory``).
        measurement: name of the measurement that holds its value (``memory_bytes``).
        unit: unit of the value.
        maximise: whether larger is better.
    """

    name: str
    measurement: str
    unit: str
    maximise: bool

    @property
    def is_cost(self) -> bool:
        """Whether the value depends on the configuration alone, so that no evaluation is needed."""
        return self.measurement not in METRICS


def known_objectives() -> tuple[str, ...]:
    """Return the short names of all objectives, metrics first."""
    return (*METRICS, *(model.alias for model in COST_MODELS.values()))


def measurement_name(name: str) -> str:
    """Resolve an alias to its measurement (``memory`` -> ``memory_bytes``); return other names unchanged."""
    for model in COST_MODELS.values():
        if name == model.alias:
            return model.name
    return name


def lookup(name: str) -> Objective:
    """Return the objective with the name of a metric, or the name or alias of a cost model.

    Raises:
        UsageError: the name is unknown; the message lists the known ones.
    """
    if name in METRICS:
        metric = METRICS[name]
        return Objective(metric.name, metric.name, metric.unit, metric.maximise)
    model = COST_MODELS.get(measurement_name(name))
    if model is None:
        raise UsageError(f"unknown objective {name!r}; known: {', '.join(known_objectives())}")
    return Objective(model.alias, model.name, model.unit, False)


def resolve(names: Sequence[str] | str) -> tuple[Objective, ...]:
    """Return the objectives of a search, in the given order.

    Args:
        names: names or aliases, as a sequence or separated by commas: ``"accuracy,memory,macs"``.

    Raises:
        UsageError: an unknown or repeated name (``memory`` and ``memory_bytes`` are the same), fewer than 2 names,
            or more than 6.
    """
    listed = names.split(",") if isinstance(names, str) else list(names)
    objectives = tuple(lookup(str(name).strip()) for name in listed)
    if len({objective.measurement for objective in objectives}) < len(objectives):
        seen = [objective.name for objective in objectives]
        repeated = sorted({name for name in seen if seen.count(name) > 1})
        raise UsageError(f"objective named more than once: {', '.join(repeated)}; name each one once")
    if not FEWEST_OBJECTIVES <= len(objectives) <= MOST_OBJECTIVES:
        raise UsageError(
            f"a search needs {FEWEST_OBJECTIVES} to {MOST_OBJECTIVES} objectives, not {len(objectives)} "
            f"({', '.join(listed)}); "
            f"known: {', '.join(known_objectives())}"
        )
    return objectives


def reference(objectives: Sequence[Objective], classes: int, dense: Mapping[str, float]) -> dict[str, float]:
    """Return the default hypervolume reference: the metrics of a guessing model and the costs of the dense model.

    Args:
        objectives: m objectives.
        classes: number of classes of the target, at least 2.
        dense: costs of the dense model by measurement name, in natural units.

    Returns:
        Objective name -> value in natural units.

    Raises:
        UsageError: fewer than 2 classes, or a dense cost that is missing, not finite, or not positive.
    """
    if classes < 2:
        raise UsageError(f"a classifier needs at least 2 classes, not {classes}")
    values = {}
    for objective in objectives:
        if not objective.is_cost:
            values[objective.name] = float(METRICS[objective.measurement].chance(classes))
            continue
        cost = dense.get(objective.measurement)
        if cost is None or not math.isfinite(cost) or cost <= 0:
            raise UsageError(
                f"the dense model's {objective.measurement} is {cost!r}; a reference must be positive: "
                f"leave '{objective.name}' out of the objectives"
            )
        values[objective.name] = float(cost)
    return values


def minimisation(objectives: Sequence[Objective], values: Sequence[float]) -> tuple[float, ...]:
    """Flip the sign of maximised objectives, so that smaller is better for all.

    Args:
        objectives: m objectives.
        values: m values in natural units, in the objectives' order.

    Raises:
        ValueError: the numbers of values and objectives differ.
    """
    return tuple(
        -float(value) if objective.maximise else float(value)
        for objective, value in zip(objectives, values, strict=True)
    )


def objective_values(
    objectives: Sequence[Objective], measurements: Sequence[Measurement]
) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the values of the objectives of a candidate, or the reason why it has none.

    Returns:
        (m,) values in natural units and None; or None and the reason, which names the objective.
    """
    found = {each.name: each.value for each in measurements if each.split in SEARCHED_SPLITS}
    values = []
    for objective in objectives:
        value = found.get(objective.measurement)
        if value is None:
            return None, f"objective '{objective.name}' was not measured"
        if not math.isfinite(value):
            return None, f"objective '{objective.name}' is {value}"
        values.append(value)
    return tuple(values), None
