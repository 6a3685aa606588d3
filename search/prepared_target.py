"""Preparation of a target for inspection or search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from leanfront.core.compressors import Configuration, Coverage, Structure
from leanfront.core.compressors.configuration import ACTIVATION_BITS, FLOAT_BITS
from leanfront.core.compressors.coverage_report import coverage
from leanfront.core.compressors.derived_structure import structure_of
from leanfront.core.cost_models import Costs, LatencyOptions, LatencyTable, Profile
from leanfront.core.cost_models.latency import LatencyPlan
from leanfront.core.cost_models.latency import latency as measured_latency
from leanfront.core.cost_models.latency_table import LatencyCost
from leanfront.core.cost_models.macs import MacModel
from leanfront.core.cost_models.registry import LATENCY
from leanfront.core.objectives import resolve
from leanfront.core.search.space import Space, derive_space
from leanfront.core.search.space_options import SpaceOptions
from leanfront.core.targets import Target
from leanfront.core.targets.architectures import architecture_name


@dataclass(frozen=True)
class Prepared:
    """A target with its derived structure, space, costs and coverage."""

    target: Target
    structure: Structure
    space: Space
    costs: Costs
    coverage: Coverage
    latency: LatencyTable | None = None

    @property
    def dense_costs(self) -> dict[str, float]:
        """Costs of the dense model."""
        return self.costs.of(Configuration())

    @property
    def cheapest(self) -> dict[str, float]:
        """Costs of the cheapest configuration of the space; no lower budget can be met."""
        return self.costs.of(self.space.configuration(self.space.cheapest))


def prepare(
    target: Target,
    options: SpaceOptions,
    objectives: Sequence[str] = (),
    latency: LatencyOptions | LatencyTable | None = None,
) -> Prepared:
    """Derive the structure, space, costs and coverage of a target.

    Args:
        target: target to compress.
        options: options of the space.
        objectives: names of the objectives; their costs must be available.
        latency: options of the latency measurement, or a latency table, if latency is wanted or an objective.

    Raises:
        LeanfrontError: the model cannot be handled, or an objective cannot be computed for it.
    """
    structure = structure_of(target, seed=options.seed)
    space = derive_space(structure, options)
    profile = Profile(target.model, target.example_input, structure, architecture_name(target))
    required = [o.measurement for o in resolve(objectives) if o.is_cost] if objectives else []
    predicted = None
    if latency is not None or LATENCY in required:
        predicted = _latency(profile, options, latency or LatencyOptions())
    costs = Costs(profile, required, {} if predicted is None else {LATENCY: predicted})
    missing = costs.unavailable.get("macs")
    if missing is None:
        model = MacModel(profile)
        report = coverage(structure, model.layers, model.dense, profile.unsupported)
    else:
        exclusions = (*structure.exclusions, ("", "MACs", missing))
        report = coverage(replace(structure, exclusions=exclusions), {}, 0, {})
    return Prepared(target, structure, space, costs, report, None if predicted is None else predicted.table)


def _latency(profile: Profile, space: SpaceOptions, wanted: LatencyOptions | LatencyTable) -> LatencyCost:
    """Return the latency cost; if there is no table yet, measure one on the space."""
    if isinstance(wanted, LatencyTable):
        return measured_latency(profile, table=wanted)
    activations = {"float": (FLOAT_BITS,), "8": (8,), "search": ACTIVATION_BITS}[space.activation_bits]
    plan = LatencyPlan(wanted, space.bits, activations, space.activation_range, space.seed)
    return measured_latency(profile, plan)
