"""Information about a search for samplers and seeds, as records and as arrays."""

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
"""Share of the dense model's lead over guessing below which a point is worth nothing, so that the sampler does not
look for hypervolume at models that nobody would ship."""
MARGIN = 0.5
"""Halvings by which the sampler's reference lies beyond the search's. A candidate that saves only memory and no
multiply-adds, which is what many users want, encloses no volume over the dense model's own costs."""
TYPICAL = 0.05
"""Nats that a middle choice of a parameter costs if nothing was measured: an order of magnitude."""


@dataclass(frozen=True)
class SamplerContext:
    """Information about a search that a sampler may use besides the trials.

    Args:
        space: space of the search.
        objectives: objectives, in order.
        population: population size of genetic samplers.
        costs: costs of the target; None if costs are unknown before an evaluation.
        sensitivities: sensitivities of the dense model; None if they could not be measured.
        reference: hypervolume reference, objective name -> value in natural units.
        dense: objective values of the dense model, objective name -> value in natural units.
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
        """The search as arrays; None unless its objectives are one metric that compression harms and known costs."""
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
    """Array form of a search of one metric against costs that are known before an evaluation.

    A point is a row of indices, one per parameter. A gain is a point's advantage over the reference: in a cost,
    log2(reference / cost) + `MARGIN`; in the metric, the remaining share of the dense model's lead, 1 for the dense
    model and 0 for the reference.

    Args:
        context: context of the search.
        metric: the objective that needs evaluation.
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
        """Hyperparameters by a digest of the trials that determine them."""
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
        """Return (n, costs) halvings of each cost, plus the margin."""
        costs = self.table.exact(points) if exact else self.table.approximate(points)
        return self._limits - np.log2(np.maximum(costs, 1e-9))

    def cost_gains(self, costs: Floats) -> Floats:
        """Return (n, costs) halvings of costs given in natural units, plus the margin."""
        return self._limits - np.log2(np.maximum(costs, 1e-9))

    def share(self, values: Floats) -> Floats:
        """Return (n,) shares of the dense model's lead over the reference."""
        return (values - self._worst) / self._span

    def loss(self, points: Integers) -> Floats:
        """Return (n,) sums of the predicted losses in nats."""
        return np.asarray(self.losses[np.arange(len(self.sizes)), points].sum(axis=1), dtype=np.float64)

    def choices(self, point: Integers) -> dict[str, int]:
        """Return a point as the parameters of a trial."""
        return dict(zip(self.parameters, point.tolist(), strict=True))


def predicted_losses(space: Space, sensitivities: Sensitivities | None) -> Floats:
    """Return (parameters, most values) predicted nats of every choice, not increasing from cheapest to dearest.

    A choice that was not measured gets the mean of its kind, or a guess if nothing of its kind was measured. Rows of
    parameters with fewer values are filled with infinity.
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
    """Guess the losses of a parameter without measurements: four times as much at every step down."""
    steps = np.arange(count)[::-1]
    return np.asarray(TYPICAL * 4.0 ** (steps - (count - 1) / 2) * (steps > 0), dtype=np.float64)
