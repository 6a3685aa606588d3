"""Implementations with one mistake each, and the tests of a suite that must find it.

Run by `test_broken.py`, in a process of its own.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from leanfront.core.compressors import Configuration, Criterion, Saliency
from leanfront.core.cost_models import Cost, CostModel, Profile
from leanfront.core.cost_models.memory import memory_bytes
from leanfront.core.search.candidate import Candidate, SearchRecord, TrialRecord
from leanfront.core.targets import Target
from leanfront.testing import CostModelConformance, CriterionConformance, StoreConformance
from leanfront.testing.small_target import small_target
from tests.leanfront.testing.memory_store import MemoryStore

CAUGHT: dict[str, tuple[str, ...]] = {}
"""Name of a test class -> the tests that must fail."""


def caught_by(*tests: str) -> Callable[[type], type]:
    """Note which tests must find the mistake."""

    def note(made: type) -> type:
        CAUGHT[made.__name__] = tests
        return made

    return note


LEFT_OUT = ("TestNoStore", "TestNoCostModel", "TestNoCriterion")
"""Test classes without an implementation."""


class TestNoStore(StoreConformance):
    pass


class TestNoCostModel(CostModelConformance):
    pass


class TestNoCriterion(CriterionConformance):
    pass


# Stores


def store_test(broken: type[MemoryStore], *tests: str) -> None:
    """Make a test class of a store."""

    class Test(StoreConformance):
        @pytest.fixture
        def store(self) -> MemoryStore:
            return broken()

    Test.__name__ = Test.__qualname__ = f"Test{broken.__name__}"
    globals()[Test.__name__] = caught_by(*tests)(Test)


class TakesOneArgument(MemoryStore):
    def frontier(self, search: str) -> list[Candidate]:  # type: ignore[override]
        return super().frontier(search)


class LosesMessages(MemoryStore):
    def create_search(self, record: SearchRecord) -> SearchRecord:
        return super().create_search(replace(record, message=None))

    def set_state(self, name: str, state: str, message: str | None = None) -> None:
        super().set_state(name, state)


class OverwritesSearches(MemoryStore):
    def create_search(self, record: SearchRecord) -> SearchRecord:
        self._searches.pop(record.name, None)
        return super().create_search(record)


class NewestFirst(MemoryStore):
    def searches(self, **page: Any) -> list[SearchRecord]:
        return super().searches(**page)[::-1]


class PreparesAgain(MemoryStore):
    def prepare_search(self, record: SearchRecord) -> SearchRecord:
        return self._change(record.name, objectives=record.objectives)


class RaisesKeyError(MemoryStore):
    def search(self, name: str) -> SearchRecord:
        return self._searches[name]


class RoundsValues(MemoryStore):
    def _keep(self, made: Candidate, correct: bytes | None) -> None:
        rounded = tuple(replace(each, value=np.float32(each.value)) for each in made.measurements)
        super()._keep(replace(made, measurements=rounded), correct)


class DropsNaN(MemoryStore):
    def _keep(self, made: Candidate, correct: bytes | None) -> None:
        known = tuple(each for each in made.measurements if not math.isnan(each.value))
        super()._keep(replace(made, measurements=known), correct)


class StoresTwins(MemoryStore):
    def find(self, search: str, digest: str) -> Candidate | None:
        return None


class TellsTrialsAsTheyCame(MemoryStore):
    def trials(self, search: str) -> list[TrialRecord]:
        super().trials(search)
        return list(self._trials[search].values())


class StoresBeforeItLooks(MemoryStore):
    """The candidate is there when the trial is refused."""

    def record(
        self, search: str, trial: TrialRecord, candidate: Candidate, correct: bytes | None = None
    ) -> Candidate:
        if self.find(search, candidate.configuration.digest) is None and trial.number in self._trials[search]:
            self._keep(replace(candidate, search=search, id=len(self._candidates) + 1), correct)
        return super().record(search, trial, candidate, correct)


class TakesWhatFailed(MemoryStore):
    """A candidate without an objective's value counts as one with the value 0."""

    def _judged(self, candidate: Candidate) -> Candidate:
        sound = [each for each in candidate.measurements if math.isfinite(each.value)]
        missing = {"accuracy", "memory_bytes", "macs"} - {each.name for each in sound}
        filled = [replace(sound[0], name=name, value=0.0) for name in missing] if sound else []
        return super()._judged(replace(candidate, measurements=(*sound, *filled)))


class TakesWhatWasStopped(MemoryStore):
    def _keep(self, made: Candidate, correct: bytes | None) -> None:
        super()._keep(replace(made, state="complete") if made.state == "stopped" else made, correct)


class ForgetsParents(MemoryStore):
    def recovered(self, search: str, parent: int | None = None) -> list[Candidate]:
        return super().recovered(search)


class ChangesObjectives(MemoryStore):
    def add_measurements(self, identifier: int, measurements: Any) -> Candidate:
        candidate = self.candidate(identifier)
        self._candidates[identifier] = replace(
            candidate, measurements=(*candidate.measurements, *measurements)
        )
        return self.candidate(identifier)


class KeepsAllCorrectness(MemoryStore):
    def correctness(self, search: str) -> dict[int, bytes]:
        self.search(search)
        return dict(self._correct)


class ForgetsAMember(MemoryStore):
    """Of members with equal vectors only the first stays."""

    def _fronts(self, search: str, stage: str) -> tuple[set[int], set[int]]:
        seen: set[tuple[float | None, ...]] = set()
        strict, weak = super()._fronts(search, stage)
        for identifier in sorted(strict):
            each = self._candidates[identifier]
            vector = (each.accuracy, each.memory_bytes, each.macs, each.value("cross_entropy"))
            if vector in seen:
                strict, weak = strict - {identifier}, weak - {identifier}
            seen.add(vector)
        return strict, weak


class NeverRemovesMembers(MemoryStore):
    """Who is on the frontier once stays there."""

    def __init__(self) -> None:
        super().__init__()
        self._ever: set[int] = set()

    def _fronts(self, search: str, stage: str) -> tuple[set[int], set[int]]:
        strict, weak = super()._fronts(search, stage)
        self._ever |= strict
        own = {each for each in self._ever if self._candidates[each].search == search}
        return strict | own, weak | own


class Unsorted(MemoryStore):
    def frontier(self, *arguments: Any, **options: Any) -> list[Candidate]:
        return super().frontier(*arguments, **options)[::-1]


class StandsStill(MemoryStore):
    def _change(self, name: str, **fields: Any) -> SearchRecord:
        fields.pop("frontier_version", None)
        return super()._change(name, **fields)


class SelectsOnTheFrontier(MemoryStore):
    def select(self, search: str, *arguments: Any, **options: Any) -> Any:
        strict, _ = self._fronts(search, "after")
        everything, self._candidates = self._candidates, {e: self._candidates[e] for e in strict}
        try:
            return super().select(search, *arguments, **options)
        finally:
            self._candidates = everything


class LimitsAnything(MemoryStore):
    def _require_measured(self, search: str, budget: Any) -> None:
        self.search(search)


class HasNoAnswer(MemoryStore):
    def select(self, *arguments: Any, **options: Any) -> Any:
        found = super().select(*arguments, **options)
        return found if found.feasible else found.nearest.id


store_test(TakesOneArgument, "test_it_has_the_methods_of_a_store")
store_test(LosesMessages, "test_a_search_comes_back_as_it_was_stored", "test_states_and_hypervolume_change")
store_test(OverwritesSearches, "test_a_name_is_taken_once")
store_test(NewestFirst, "test_searches_come_oldest_first_and_in_pages")
store_test(PreparesAgain, "test_a_queued_search_is_prepared_before_its_first_trial")
store_test(RaisesKeyError, "test_what_does_not_exist_is_named")
store_test(RoundsValues, "test_a_candidate_comes_back_as_it_was_stored")
store_test(DropsNaN, "test_nan_in_a_measurement_that_is_no_objective_is_kept")
store_test(StoresTwins, "test_a_configuration_is_one_candidate_of_its_search")
store_test(TellsTrialsAsTheyCame, "test_trials_come_back_by_number")
store_test(StoresBeforeItLooks, "test_what_is_refused_changes_nothing")
store_test(TakesWhatFailed, "test_failed_candidates_are_kept_apart")
store_test(TakesWhatWasStopped, "test_stopped_candidates_are_told_to_the_study_alone")
store_test(ForgetsParents, "test_recovered_candidates_are_found_by_their_parent")
store_test(
    ChangesObjectives, "test_measurements_are_added_and_replaced", "test_what_is_refused_changes_nothing"
)
store_test(KeepsAllCorrectness, "test_correctness_is_kept_of_the_frontier_alone")
store_test(ForgetsAMember, "test_the_frontier_is_the_nondominated_set_at_every_moment")
store_test(
    NeverRemovesMembers,
    "test_the_frontier_is_the_nondominated_set_at_every_moment",
    "test_the_order_of_candidates_does_not_change_the_frontier",
)
store_test(Unsorted, "test_the_frontier_comes_cheapest_memory_first_and_within_a_budget")
store_test(StandsStill, "test_a_version_tells_that_the_frontier_changed")
store_test(SelectsOnTheFrontier, "test_a_selection_is_the_rules_over_all_candidates")
store_test(LimitsAnything, "test_what_nobody_measured_cannot_be_limited")
store_test(HasNoAnswer, "test_an_answer_without_a_candidate_says_so")


@caught_by("test_another_process_reads_what_was_written_and_goes_on")
class TestWritesNothing(StoreConformance):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def reopen(self) -> Callable[[], MemoryStore]:
        return MemoryStore


# Cost models


def model(build: Callable[[Profile], Cost], **changes: Any) -> CostModel:
    fields = {"name": "made_up", "alias": "made", "unit": "1", "source": "a test"}
    return CostModel(build=build, **{**fields, **changes})


def cost_test(name: str, made: CostModel, *tests: str, **own: Any) -> None:
    """Make a test class of a cost model."""

    class Test(CostModelConformance):
        @pytest.fixture
        def cost_model(self) -> CostModel:
            return made

    for key, value in own.items():
        setattr(Test, key, value)
    Test.__name__ = Test.__qualname__ = f"Test{name}"
    globals()[Test.__name__] = caught_by(*tests)(Test)


class Batched:
    """A batched form that forgets the layers' biases, or whatever else."""

    def __init__(self, profile: Profile) -> None:
        self.exact = memory_bytes(profile)

    def __call__(self, configuration: Configuration) -> float:
        return self.exact(configuration)

    def many(self, batch: Any) -> Any:
        return np.ones(len(batch))

    def bounds(self, value: float) -> tuple[float, float]:
        return value * 1.1, value * 1.2


def hooked(profile: Profile) -> Cost:
    profile.model.register_forward_hook(lambda *_: None)
    return memory_bytes(profile)


COUNT = itertools.count(1)


def counted(profile: Profile) -> Cost:
    number = next(COUNT)
    return lambda configuration: float(number)


def rising(profile: Profile) -> Cost:
    size = memory_bytes(profile)
    return lambda configuration: 1e9 / size(configuration)


cost_test("HasABadName", model(memory_bytes, name="my cost"), "test_it_says_what_it_is")
cost_test(
    "HasAMetricsName",
    model(memory_bytes, alias="accuracy"),
    "test_it_says_what_it_is",
    "test_it_can_be_an_objective_and_a_limit",
)
cost_test(
    "IsNotANumber",
    model(lambda profile: lambda configuration: math.nan),
    "test_values_are_finite_and_not_negative",
)
cost_test(
    "IsNotDeterministic",
    model(lambda profile: lambda configuration: random.random()),
    "test_equal_configurations_cost_the_same",
    "test_it_is_built_the_same_again",
)
cost_test("CountsItsBuilds", model(counted), "test_it_is_built_the_same_again")
cost_test("RisesWithLess", model(rising), "test_less_costs_no_more")
cost_test(
    "IsNotMeasured",
    model(memory_bytes),
    "test_it_agrees_with_the_compressed_model",
    measured=lambda self, compressed, subject: 5.0,
)
cost_test(
    "IsAnotherInBatches",
    model(Batched),
    "test_a_batch_costs_what_each_costs",
    "test_a_predicted_value_lies_within_its_bounds",
)
cost_test(
    "LeavesAHook",
    model(hooked),
    "test_the_model_is_left_as_it_was",
)


# Criteria


def magnitude(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    return saliency.weight(layer).abs()


def summed(scores: Tensor) -> Tensor:
    return scores.sum(1)


def criterion_test(name: str, *tests: str, **changes: Any) -> None:
    """Make a test class of a criterion."""
    fields: dict[str, Any] = {"name": "made", "source": "a test", "elements": magnitude, "reduction": summed}
    made = Criterion(**{**fields, **changes})

    class Test(CriterionConformance):
        @pytest.fixture
        def criterion(self) -> Criterion:
            return made

        @pytest.fixture
        def target(self) -> Target:
            # One of its own, which may be broken.
            return small_target.__wrapped__()

    Test.__name__ = Test.__qualname__ = f"Test{name}"
    globals()[Test.__name__] = caught_by(*tests)(Test)


def flat(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    return saliency.weight(layer).abs().flatten()


def careless(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    return torch.rand(saliency.weight(layer).shape)


def in_place(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    return saliency.weight(layer).abs_()


def graded(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    weight = saliency.weight(layer).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(weight.square().sum(), weight)
    return gradient.abs()


def placed(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    weight = saliency.weight(layer)
    return torch.arange(weight.numel(), dtype=torch.float32).reshape(weight.shape)


def inverse(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    return 1 / (0.01 + saliency.weight(layer).abs())


criterion_test("HasNoSource", "test_it_says_what_it_is", source=" ")
criterion_test(
    "HasAWrongShape",
    "test_every_weight_has_a_score",
    "test_every_channel_of_a_layer_has_a_score",
    "test_a_model_is_cut_by_it",
    elements=flat,
)
criterion_test(
    "IsNegative", "test_every_channel_of_a_layer_has_a_score", reduction=lambda scores: -scores.sum(1)
)
criterion_test(
    "HasTooFewUnits",
    "test_every_unit_of_a_group_has_a_score",
    units=lambda saliency, group: torch.ones(group.units - 1, dtype=torch.float64),
)
criterion_test(
    "DrawsFromTheGlobalGenerator",
    "test_equal_seeds_give_equal_scores",
    "test_it_draws_from_its_own_generator",
    elements=careless,
)
criterion_test("ChangesTheWeights", "test_the_model_is_left_as_it_was", elements=in_place)
criterion_test("NeedsGradients", "test_scores_are_the_same_without_gradients", elements=graded)
criterion_test("GoesByPlace", "test_scores_go_with_their_channels", elements=placed)
criterion_test("KeepsTheSmallest", "test_a_channel_that_is_always_zero_is_cut_first", elements=inverse)
