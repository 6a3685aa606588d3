"""What samplers and seeds are told about a search, and the same as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from leanfront.core.compressors.statistics.sensitivities import Sensitivities
from leanfront.core.cost_models import Costs, CostTable
from leanfront.core.objectives import Objective
from leanfront.core.search.space import Parameter, Space
from leanfront.core.search.surrogate import Hyperparameters

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LOST = 0.45
"""Share of the dense model's lead over guessing below which a point is worth nothing: hypervolume towards models
that nobody would ship is not looked for."""
MARGIN = 0.5
"""Halvings by which the sampler's reference lies beyond the search's: a candidate that saves memory alone, and no
multiply-adds, encloses no volume over the dense model's own costs, and is what many users want."""
TYPICAL = 0.05
"""Nats that a half-way choice of a parameter costs where nothing was measured: its order of magnitude."""


@dataclass(frozen=True)
class SamplerContext:
    """What a sampler may know of its search beside the trials.

    Args:
        space: what is searched.
        objectives: in order.
        population: of genetic samplers.
        costs: of the target; None where nothing is known of them before an evaluation.
        sensitivities: of the dense model; None where they could not be measured.
        reference: hypervolume reference, objective name -> value in natural units.
        dense: the dense model's objective values, objective name -> value in natural units.
    """

    space: Space
    objectives: Sequence[Objective]
    population: int = 50
    costs: Costs | None = None
    sensitivities: Sensitivities | None = None
    reference: Mapping[str, float] = field(default_factory=dict)
    dense: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def landscape(self) -> Landscape | None:
        """The search as arrays, or None where it is not one metric that compression harms against costs."""
        metrics = [objective for objective in self.objectives if not objective.is_cost]
        if self.costs is None or len(metrics) != 1 or len(metrics) == len(self.objectives):
            return None
        (metric,) = metrics
        needed = {objective.name for objective in self.objectives}
        if not needed <= self.reference.keys() or metric.name not in self.dense:
            return None
        span = self.dense[metric.name] - self.reference[metric.name]
        if not (span > 0 if metric.maximise else span < 0):
            return None
        return Landscape(self, metric)


class Landscape:
    """Arrays of a search of one metric against costs that are known beforehand.

    A point is a row of indices, one per parameter. A gain is what a point has over the reference: in a cost
    log2(reference / cost) + `MARGIN`, in the metric the share of the dense model's lead that is left, 1 for the
    dense model and 0 for the reference.

    Args:
        context: of the search.
        metric: its one objective that needs evaluation.
    """

    def __init__(self, context: SamplerContext, metric: Objective) -> None:
        if context.costs is None:
            raise ValueError("a landscape needs costs")
        space = context.space
        self.parameters = tuple(space.parameters)
        self.kinds = [parameter.kind for parameter in space.parameters.values()]
        self.sizes = np.asarray([len(p.values) for p in space.parameters.values()], dtype=np.int64)
        self.distributions = {name: p.distribution for name, p in space.parameters.items()}
        self.chosen: dict[bytes, Hyperparameters] = {}
        """Hyperparameters by a digest of the trials that they were chosen from: they depend on nothing else."""
        self.losses = predicted_losses(space, context.sensitivities)
        self.objectives = tuple(context.objectives)
        self.metric = self.objectives.index(metric)
        costs = [objective for objective in self.objectives if objective.is_cost]
        self.table = CostTable(
            context.costs, space.parameters, space.configuration, [o.measurement for o in costs]
        )
        self.columns = [position for position, o in enumerate(self.objectives) if o.is_cost]
        self._limits = np.log2([context.reference[objective.name] for objective in costs]) + MARGIN
        self._worst = context.reference[metric.name]
        self._span = context.dense[metric.name] - self._worst

    def gains(self, points: Integers, *, exact: bool = True) -> Floats:
        """(n, costs) halvings of each cost, the margin added."""
        costs = self.table.exact(points) if exact else self.table.approximate(points)
        return self._limits - np.log2(np.maximum(costs, 1e-9))

    def cost_gains(self, costs: Floats) -> Floats:
        """(n, costs) halvings of costs in natural units, the margin added."""
        return self._limits - np.log2(np.maximum(costs, 1e-9))

    def share(self, values: Floats) -> Floats:
        """(n,) shares of the dense model's lead over the reference."""
        return (values - self._worst) / self._span

    def loss(self, points: Integers) -> Floats:
        """(n,) sums of the predicted losses, nats."""
        return np.asarray(self.losses[np.arange(len(self.sizes)), points].sum(axis=1), dtype=np.float64)

    def choices(self, point: Integers) -> dict[str, int]:
        """A point as a trial's parameters."""
        return dict(zip(self.parameters, point.tolist(), strict=True))


def predicted_losses(space: Space, sensitivities: Sensitivities | None) -> Floats:
    """(parameters, most values) predicted nats of every choice, never rising from cheapest to dearest.

    What was not measured gets the mean of its kind, or a guess where nothing of its kind was. The rows of
    parameters with fewer values are filled with infinities.
    """
    parameters = list(space.parameters.values())
    most = max(len(parameter.values) for parameter in parameters)
    losses = np.full((len(parameters), most), np.inf)
    measured = [_measured(parameter, sensitivities) for parameter in parameters]
    for row, parameter in enumerate(parameters):
        found = measured[row]
        if found is None:
            alike = [
                each
                for each, other in zip(measured, parameters, strict=True)
                if each is not None and other.kind == parameter.kind and len(each) == len(parameter.values)
            ]
            found = np.mean(alike, axis=0) if alike else _guess(len(parameter.values))
        losses[row, : len(found)] = np.maximum.accumulate(found[::-1])[::-1]
    return losses


def _measured(parameter: Parameter, sensitivities: Sensitivities | None) -> Floats | None:
    if sensitivities is None:
        return None
    try:
        if parameter.kind == "channels":
            kept = sensitivities.channels[parameter.subject]
            losses = [kept[value - 1] for value in parameter.values]
        elif parameter.kind == "weight":
            bits = sensitivities.weights[parameter.subject]
            losses = [bits[value] if value < 16 else bits.get(value, 0.0) for value in parameter.values]
        elif parameter.kind == "activation":
            widths = sensitivities.activations[parameter.subject]
            losses = [widths[value] for value in parameter.values]
        else:
            shares = sensitivities.sparsity[parameter.subject]
            losses = [0.0 if value == 0 else shares[value] for value in parameter.values]
    except (KeyError, IndexError):
        return None
    found = np.asarray(losses, dtype=np.float64)
    return np.maximum(found, 0.0) if np.isfinite(found).all() else None


def _guess(count: int) -> Floats:
    """Losses of a parameter of which nothing is known: four times as much at every step down."""
    steps = np.arange(count)[::-1]
    return np.asarray(TYPICAL * 4.0 ** (steps - (count - 1) / 2) * (steps > 0), dtype=np.float64)
