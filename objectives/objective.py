"""What a search optimises: names of costs and metrics turned into measurements with a direction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leanfront.core.cost_models.registry import COST_MODELS
from leanfront.core.objectives.measurement import SEARCHED_SPLITS, Measurement
from leanfront.core.objectives.metrics import METRICS
from leanfront.errors import UsageError

FEWEST_OBJECTIVES, MOST_OBJECTIVES = 2, 6
"""How many objectives a search may have: one has no trade-off, and beyond six nearly every point is
nondominated and exact hypervolume becomes slow."""


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
        """Whether the configuration alone decides it, so that nothing need be evaluated."""
        return self.measurement not in METRICS


def known_objectives() -> tuple[str, ...]:
    """Short names of all objectives, metrics first."""
    return (*METRICS, *(model.alias for model in COST_MODELS.values()))


def measurement_name(name: str) -> str:
    """The measurement that a name or alias means: ``memory`` -> ``memory_bytes``; other names as they are."""
    for model in COST_MODELS.values():
        if name == model.alias:
            return model.name
    return name


def lookup(name: str) -> Objective:
    """The objective of a metric's name, a cost model's name, or a cost model's alias.

    Raises:
        UsageError: unknown; the message lists what is known.
    """
    if name in METRICS:
        metric = METRICS[name]
        return Objective(metric.name, metric.name, metric.unit, metric.maximise)
    model = COST_MODELS.get(measurement_name(name))
    if model is None:
        raise UsageError(f"unknown objective {name!r}; known: {', '.join(known_objectives())}")
    return Objective(model.alias, model.name, model.unit, False)


def resolve(names: Sequence[str] | str) -> tuple[Objective, ...]:
    """The objectives of a search, in the order named.

    Args:
        names: names or aliases, as a sequence or separated by commas: ``"accuracy,memory,macs"``.

    Raises:
        UsageError: an unknown or repeated name (``memory`` and ``memory_bytes`` are one), fewer than
            2 or more than 6.
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
    """The default hypervolume reference: what a guessing model scores, what the dense model costs.

    Args:
        objectives: m objectives.
        classes: number of classes of the target, at least 2.
        dense: the dense model's costs by measurement name, in natural units.

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
    """Objective values with the sign of maximised ones flipped, so that smaller is better everywhere.

    Args:
        objectives: m objectives.
        values: m values in natural units, in the objectives' order.

    Raises:
        ValueError: another number of values than of objectives.
    """
    return tuple(
        -float(value) if objective.maximise else float(value)
        for objective, value in zip(objectives, values, strict=True)
    )


def objective_values(
    objectives: Sequence[Objective], measurements: Sequence[Measurement]
) -> tuple[tuple[float, ...] | None, str | None]:
    """The objectives' values of a candidate, or why it cannot be compared.

    Returns:
        (m,) values in natural units and None; or None and the reason, naming the objective.
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
