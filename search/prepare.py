"""A target made ready: what inspecting and searching it have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compressors import Configuration, Coverage, Structure, coverage, derive
from cost_models import Costs, Profile
from cost_models.macs import MacModel
from objectives import resolve
from search.space import Space, SpaceOptions, derive_space
from targets import Target
from targets.architectures import architecture_name


@dataclass(frozen=True)
class Prepared:
    """A target made ready: what inspecting and searching it have in common."""

    target: Target
    structure: Structure
    space: Space
    costs: Costs
    coverage: Coverage

    @property
    def dense_costs(self) -> dict[str, float]:
        """Costs of the dense model."""
        return self.costs.of(Configuration())

    @property
    def cheapest(self) -> dict[str, float]:
        """Costs of the cheapest configuration of the space: no budget below it can be met."""
        return self.costs.of(self.space.configuration(self.space.cheapest))


def prepare(target: Target, options: SpaceOptions, objectives: Sequence[str] = ()) -> Prepared:
    """Derive structure, space, costs and coverage of a target.

    Raises:
        LeanfrontError: the model cannot be handled, or an objective cannot be computed for it.
    """
    structure = derive(target.model, target.example_input, seed=options.seed)
    profile = Profile(target.model, target.example_input, structure, architecture_name(target))
    costs = Costs(profile, [o.measurement for o in resolve(objectives) if o.is_cost] if objectives else ())
    missing = costs.unavailable.get("macs")
    if missing is None:
        model = MacModel(profile)
        report = coverage(structure, model.layers, model.dense, profile.unsupported)
    else:
        exclusions = (*structure.exclusions, ("", "MACs", missing))
        report = coverage(replace(structure, exclusions=exclusions), {}, 0, {})
    return Prepared(target, structure, derive_space(structure, options), costs, report)
