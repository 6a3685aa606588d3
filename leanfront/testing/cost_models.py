"""Conformance tests for cost models."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pytest

from leanfront.core.compressors.compressor import Compressed, Compressor
from leanfront.core.compressors.configuration import (
    ACTIVATION_BITS,
    FLOAT_BITS,
    WEIGHT_BITS,
    Configuration,
    Sparsity,
)
from leanfront.core.compressors.structure.structure import Structure
from leanfront.core.cost_models.batch import BatchedCost, Encoder, EstimatedCost, Frame
from leanfront.core.cost_models.costs import Costs
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.registry import COST_MODELS, Cost, CostModel
from leanfront.core.cost_models.timing import torch_threads
from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.metrics import METRICS
from leanfront.core.objectives.objective import resolve
from leanfront.core.targets.target import Target
from leanfront.testing.small_target import small_target

DRAWN = 4
"""Number of random configurations tested, besides the dense and the narrowest one."""
BATCH = 24
"""Number of configurations in a batch."""
STEPS = 8
"""Number of steps from all channels of a group to few, whose costs are compared."""
SPARSITIES: tuple[Sparsity, ...] = (0.1, 0.5, 0.95, "2:4")


@dataclass(frozen=True)
class Choice:
    """One parameter of a search space."""

    kind: str
    subject: str
    values: tuple[Any, ...]


class Subject:
    """A target with its compressor, structure and profile, each made once."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.compressor = Compressor(target, samples=4)
        self.structure = self.compressor.structure
        self.profile = self.fresh_profile()
        self._made: dict[Configuration, Compressed] = {}

    def fresh_profile(self) -> Profile:
        """Return a new profile, from which no cost has been built."""
        return Profile(self.target.model, self.target.example_input, self.structure, self.target.name or "")

    @cached_property
    def configurations(self) -> list[Configuration]:
        """Configurations of the dense model, the narrowest model, and random ones."""
        narrowest = Configuration(channels=dict.fromkeys(self.structure.groups, 1))
        drawn = [draw(self.structure, seed) for seed in range(DRAWN)]
        return [Configuration(), self.structure.canonical(narrowest), *drawn]

    def compressed(self, configuration: Configuration) -> Compressed:
        """Return the model compressed by a configuration."""
        if configuration not in self._made:
            self._made[configuration] = self.compressor.materialise(configuration)
        return self._made[configuration]


@lru_cache(maxsize=16)
def subject_of(target: Target) -> Subject:
    """Return the subject of a target, one object for all costs."""
    return Subject(target)


@lru_cache(maxsize=64)
def built(model: CostModel, subject: Subject) -> Cost:
    """Return the cost function that a model builds for a target, built once."""
    return model.build(subject.profile)


def draw(structure: Structure, seed: int) -> Configuration:
    """Return a random configuration: most groups cut to any width, any bits, and sparsity in some layers."""
    choice = random.Random(seed)
    channels = {
        name: choice.choice([1, group.units, choice.randint(1, group.units)])
        for name, group in structure.groups.items()
        if choice.random() < 0.8
    }
    bits = {layer: choice.choice([*WEIGHT_BITS, FLOAT_BITS]) for layer in structure.layers}
    sparsity = {layer: choice.choice(SPARSITIES) for layer in structure.layers if choice.random() < 0.3}
    return structure.canonical(
        Configuration(channels=channels, weight_bits=bits, sparsity=sparsity, criterion="random", seed=seed)
    )


class CostModelConformance:
    """Tests that every `CostModel` must pass.

    Subclass this in a test file, under a name that starts with ``Test``, and override the fixture `cost_model`. The
    cost model need not be registered: each test registers it while it runs. Override `measured` if the cost can be
    read from the compressed model, and list in `falls_with` what makes the cost smaller.
    """

    falls_with: tuple[str, ...] = ("channels",)
    """Fields of a configuration with which the cost never rises when they shrink (for sparsity, when zeros are added)
    and all else is dense: ``channels``, ``weight_bits``, ``activation_bits`` or ``sparsity``."""

    tolerance: float = 1e-9
    """Largest relative difference allowed between the cost and `measured`."""

    @pytest.fixture
    def cost_model(self) -> Any:
        """The cost model under test; must be overridden."""
        raise NotImplementedError("override the fixture `cost_model`: it must return a CostModel")

    @pytest.fixture
    def target(self) -> Any:
        """Target of the tests; by default a small network with all kinds of convolution."""
        return small_target()

    def measured(self, compressed: Compressed, subject: Subject) -> float | None:
        """Return the cost read from a compressed model itself; None, the default, if it cannot be read.

        Args:
            compressed: module with its configuration, integers and masks.
            subject: target and structure that it was made from.
        """
        return None

    @pytest.fixture
    def subject(self, target: Target) -> Subject:
        """The target with its structure and profile."""
        return subject_of(target)

    @pytest.fixture
    def cost(self, cost_model: CostModel, subject: Subject) -> Cost:
        """The cost function that the model builds for the target."""
        return built(cost_model, subject)

    @pytest.fixture(autouse=True)
    def _one_thread(self) -> Iterator[None]:
        """Use one thread: the networks are too small for more to pay off."""
        with torch_threads(1):
            yield

    @pytest.fixture(autouse=True)
    def _registered(self, cost_model: CostModel, monkeypatch: pytest.MonkeyPatch) -> None:
        for known in COST_MODELS.values():
            if known.name != cost_model.name:
                taken = {known.name, known.alias} & {cost_model.name, cost_model.alias}
                assert not taken, f"a registered cost model has the name {taken}"
        monkeypatch.setitem(COST_MODELS, cost_model.name, cost_model)

    # Its registry entry

    def test_it_says_what_it_is(self, cost_model: CostModel) -> None:
        for name in (cost_model.name, cost_model.alias):
            # Names are typed in --objectives a,b and in --max name=value.
            assert name.isidentifier(), name
            assert name not in METRICS, f"{name} is a metric"
        assert cost_model.unit.strip()
        assert cost_model.source.strip()

    def test_it_can_be_an_objective_and_a_limit(
        self, cost_model: CostModel, cost: Cost, subject: Subject
    ) -> None:
        for name in (cost_model.name, cost_model.alias):
            objective = resolve(["accuracy", name])[1]
            assert (objective.measurement, objective.unit) == (cost_model.name, cost_model.unit)
            assert objective.is_cost
            assert not objective.maximise
            assert Budget({name: 1.0}).maximum == {cost_model.name: 1.0}
        costs = Costs(subject.profile, [cost_model.name], built={cost_model.name: cost})
        assert costs.of(Configuration())[cost_model.name] == cost(Configuration())

    # Its values

    def test_values_are_finite_and_not_negative(self, cost: Cost, subject: Subject) -> None:
        for configuration in subject.configurations:
            value = cost(configuration)
            assert isinstance(value, float), f"{type(value).__name__}: a cost is a float"
            assert math.isfinite(value)
            assert value >= 0
        assert cost(Configuration()) > 0, "the dense model's cost is what the others are compared with"

    def test_equal_configurations_cost_the_same(self, cost: Cost, subject: Subject) -> None:
        """Independent of earlier calls."""
        values = [cost(each) for each in subject.configurations]
        again = [cost(Configuration.from_json(each.to_json())) for each in reversed(subject.configurations)]
        assert again[::-1] == values

    def test_it_is_built_the_same_again(self, cost_model: CostModel, cost: Cost, subject: Subject) -> None:
        if cost_model.measures:
            return  # no two measurements are the same
        again = cost_model.build(subject.fresh_profile())
        assert [again(each) for each in subject.configurations] == [
            cost(each) for each in subject.configurations
        ]

    def test_less_costs_no_more(self, cost: Cost, subject: Subject) -> None:
        """For all layers or groups at once, and for each alone."""
        for field in self.falls_with:
            steps = _steps(subject.structure, field)
            for names in (list(steps), *([name] for name in steps)):
                last = cost(Configuration())
                for place in range(max(len(steps[name]) for name in names) if names else 0):
                    chosen = {name: steps[name][min(place, len(steps[name]) - 1)] for name in names}
                    configuration = subject.structure.canonical(Configuration().change(**{field: chosen}))
                    value = cost(configuration)
                    assert value <= last, (
                        f"{field} {chosen}: the cost is {value}, and only {last} with more of them"
                    )
                    last = value

    def test_it_agrees_with_the_compressed_model(self, cost: Cost, subject: Subject) -> None:
        for configuration in subject.configurations:
            expected = self.measured(subject.compressed(configuration), subject)
            if expected is None:
                pytest.skip("`measured` returns no cost of a compressed model")
            assert cost(configuration) == pytest.approx(expected, rel=self.tolerance, abs=0)

    def test_a_predicted_value_lies_within_its_bounds(self, cost: Cost, subject: Subject) -> None:
        if not isinstance(cost, EstimatedCost):
            return  # it is exact
        for configuration in subject.configurations:
            value = cost(configuration)
            low, high = cost.bounds(value)
            assert 0 <= low <= value <= high < math.inf

    @pytest.mark.parametrize("rule", ["percentile", "dynamic"])
    @pytest.mark.parametrize("sparsity", [(0.95, 0.5, 0.1, 0.0), ("2:4", 0.0), (0.0,)], ids=str)
    def test_a_batch_costs_what_each_costs(
        self, cost: Cost, subject: Subject, sparsity: Sequence[Any], rule: str
    ) -> None:
        """Equal to the last bit, for a cost with the batched form `many`."""
        if not isinstance(cost, BatchedCost):
            return
        structure = subject.structure
        choices = grid(structure, tuple(sparsity))
        sizes = np.asarray([len(choice.values) for choice in choices.values()])
        numbers = np.random.default_rng(0)
        indices = numbers.integers(0, sizes, (BATCH, len(sizes)))
        indices[0], indices[1] = 0, sizes - 1
        # Some are dense except for a few choices.
        indices[2:8] = np.where(numbers.random((6, len(sizes))) < 0.8, sizes - 1, indices[2:8])
        quantised = Configuration(activation_bits=dict.fromkeys(structure.layers, 8), activation_range=rule)
        encoder = Encoder(Frame(structure), choices, structure.canonical(quantised))
        found = cost.many(encoder.batch(indices))
        assert found.shape == (BATCH,)
        assert found.tolist() == [cost(chosen(structure, choices, row, rule)) for row in indices.tolist()]

    # Side effects

    def test_the_model_is_left_as_it_was(self, cost_model: CostModel, cost: Cost, subject: Subject) -> None:
        model = subject.target.model
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        profile = subject.fresh_profile()
        again = cost if cost_model.measures else cost_model.build(profile)
        again(subject.configurations[-1])
        after = model.state_dict()
        assert [name for name, tensor in before.items() if not bool((after[name] == tensor).all())] == []
        modules = list(model.modules())
        assert not any(each.training or each._forward_hooks or each._forward_pre_hooks for each in modules)


def _steps(structure: Structure, field: str) -> Mapping[str, Sequence[Any]]:
    """Return the values of a field for each group or layer, from the dense model's to the smallest."""
    if field == "channels":
        shares = range(STEPS, 0, -1)
        return {
            name: [max(1, round(group.units * share / STEPS)) for share in shares]
            for name, group in structure.groups.items()
        }
    values: dict[str, Sequence[Any]] = {
        "weight_bits": sorted([*WEIGHT_BITS, FLOAT_BITS], reverse=True),
        "activation_bits": sorted([*ACTIVATION_BITS, FLOAT_BITS], reverse=True),
        "sparsity": (0.0, 0.1, 0.5, 0.95),
    }
    if field not in values:
        raise ValueError(f"falls_with names '{field}'; a configuration has channels, {', '.join(values)}")
    return dict.fromkeys(structure.layers, values[field])


def grid(structure: Structure, sparsity: tuple[Any, ...]) -> dict[str, Choice]:
    """Return a search space that includes every number of channels."""
    choices = [
        Choice("channels", each.name, tuple(range(1, each.units + 1))) for each in structure.groups.values()
    ]
    for layer in structure.layers:
        choices.append(Choice("weight", layer, (2, 3, 5, 8, 16, 32)))
        choices.append(Choice("activation", layer, (4, 8, 32)))
        choices.append(Choice("sparsity", layer, sparsity))
    return {f"{choice.kind}/{choice.subject}": choice for choice in choices}


def chosen(
    structure: Structure, choices: Mapping[str, Choice], row: Sequence[int], rule: str
) -> Configuration:
    """Return the configuration with the given index of each choice."""
    picked: dict[str, dict[str, Any]] = {"channels": {}, "weight": {}, "activation": {}, "sparsity": {}}
    for choice, index in zip(choices.values(), row, strict=True):
        picked[choice.kind][choice.subject] = choice.values[index]
    return structure.canonical(
        Configuration(
            channels=picked["channels"],
            weight_bits=picked["weight"],
            activation_bits=picked["activation"],
            sparsity=picked["sparsity"],
            activation_range=rule,
        )
    )
