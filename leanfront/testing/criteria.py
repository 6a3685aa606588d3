"""Conformance tests for pruning criteria."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from leanfront.core.compressors.compressor import Compressor
from leanfront.core.compressors.configuration import NO_RULE, Configuration
from leanfront.core.compressors.derived_structure import structure_of
from leanfront.core.compressors.pruning.criteria import CRITERIA, Criterion
from leanfront.core.compressors.pruning.saliency import Saliency
from leanfront.core.compressors.pruning.scores import channel_scores, weight_scores
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.cost_models.timing import torch_threads
from leanfront.core.targets.target import Target
from leanfront.testing.small_target import chain_target, small_target

ORDER = (3, 0, 7, 5, 1, 6, 2, 4)
"""A permutation of eight channels."""


class CriterionConformance:
    """Tests that every pruning `Criterion` must pass.

    Subclass this in a test file, under a name that starts with ``Test``, and override the fixture `criterion`. The
    criterion need not be registered: each test registers it while it runs.
    """

    @pytest.fixture
    def criterion(self) -> Any:
        """The criterion under test; must be overridden."""
        raise NotImplementedError("override the fixture `criterion`: it must return a Criterion")

    @pytest.fixture
    def target(self) -> Any:
        """Target whose layers are scored; by default a small network with all kinds of convolution."""
        return small_target()

    @pytest.fixture
    def saliency(self, target: Target) -> Saliency:
        """Input of the criterion for `target`."""
        return _known_saliency(target)

    @pytest.fixture(autouse=True)
    def _one_thread(self) -> Iterator[None]:
        """Use one thread: the networks are too small for more to pay off."""
        with torch_threads(1):
            yield

    @pytest.fixture(autouse=True)
    def _registered(self, criterion: Criterion, monkeypatch: pytest.MonkeyPatch) -> None:
        known = CRITERIA.get(criterion.name, criterion)
        assert known == criterion, f"another criterion is registered as '{criterion.name}'"
        monkeypatch.setitem(CRITERIA, criterion.name, criterion)

    def test_it_says_what_it_is(self, criterion: Criterion) -> None:
        assert criterion.name == criterion.name.strip() != ""
        assert criterion.name != NO_RULE, f"'{NO_RULE}' says that nothing is pruned"
        assert criterion.source.strip()

    # Scores

    def test_every_weight_has_a_score(self, criterion: Criterion, saliency: Saliency) -> None:
        for layer in saliency.structure.layers:
            scores = weight_scores(saliency, layer, criterion.name)
            assert scores.shape == weight_of(saliency.modules[layer]).shape, layer
            assert scores.is_floating_point(), layer
            assert bool(torch.isfinite(scores).all()), layer

    def test_every_channel_of_a_layer_has_a_score(self, criterion: Criterion, saliency: Saliency) -> None:
        """None is negative: the scores of a layer are divided by their mean before layers are added up."""
        for layer in saliency.structure.layers:
            generator = torch.Generator().manual_seed(0)
            weight = saliency.weight(layer)
            elements = criterion.elements(saliency, layer, generator)
            assert elements.shape == weight.shape, f"{layer}: output channels come first"
            scores = criterion.reduction(elements.reshape(len(elements), -1))
            assert scores.shape == (len(weight),), layer
            assert bool(torch.isfinite(scores).all()), layer
            assert bool((scores >= 0).all()), layer

    def test_every_unit_of_a_group_has_a_score(self, criterion: Criterion, saliency: Saliency) -> None:
        for name, group in saliency.structure.groups.items():
            scores = channel_scores(saliency, group, criterion.name)
            assert scores.shape == (group.units,), name
            assert scores.is_floating_point(), name
            assert bool(torch.isfinite(scores).all()), name

    # Reproducibility

    def test_equal_seeds_give_equal_scores(
        self, criterion: Criterion, target: Target, saliency: Saliency
    ) -> None:
        """Independent of earlier scores and of random numbers that others draw."""
        found = _scores(saliency, criterion)
        torch.manual_seed(9876)
        again = _scores(_saliency(target), criterion, backwards=True)
        assert found.keys() == again.keys()
        assert [key for key, scores in found.items() if not torch.equal(scores, again[key])] == []

    def test_it_draws_from_its_own_generator(self, criterion: Criterion, saliency: Saliency) -> None:
        before = torch.get_rng_state()
        _scores(saliency, criterion)
        assert torch.equal(torch.get_rng_state(), before), "draw from the generator that is passed"

    def test_the_model_is_left_as_it_was(self, criterion: Criterion, saliency: Saliency) -> None:
        model = saliency.target.model
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        _scores(saliency, criterion)
        after = model.state_dict()
        assert [name for name, tensor in before.items() if not torch.equal(after[name], tensor)] == []
        assert all(parameter.grad is None for parameter in model.parameters())
        modules = list(model.modules())
        assert not any(each.training or each._forward_hooks or each._forward_pre_hooks for each in modules)

    def test_scores_are_the_same_without_gradients(
        self, criterion: Criterion, target: Target, saliency: Saliency
    ) -> None:
        """Compression runs with gradients off; a criterion that needs gradients turns them on."""
        found = _scores(saliency, criterion)
        with torch.no_grad():
            again = _scores(_saliency(target), criterion)
        assert [key for key, scores in found.items() if not torch.equal(scores, again[key])] == []

    # Meaning of the scores

    def test_scores_go_with_their_channels(self, criterion: Criterion) -> None:
        """A network with permuted channels computes the same, so its scores are permuted likewise."""
        scores = _first_scores(criterion, chain_target())
        if _draws(criterion):
            return
        moved = _first_scores(criterion, chain_target(ORDER))
        torch.testing.assert_close(moved, scores[list(ORDER)], rtol=1e-3, atol=1e-6)

    def test_a_channel_that_is_always_zero_is_cut_first(self, criterion: Criterion) -> None:
        if _draws(criterion):
            return
        for silent in (0, 5):
            scores = _first_scores(criterion, chain_target(silent=silent))
            assert float(scores[silent]) <= float(scores.min())

    def test_a_model_is_cut_by_it(self, criterion: Criterion, target: Target) -> None:
        """For channels and for single weights."""
        compressor = Compressor(target, samples=8)
        structure, draw = compressor.structure, random.Random(0)
        configuration = Configuration(
            channels={name: draw.randint(1, group.units) for name, group in structure.groups.items()},
            sparsity=dict.fromkeys(structure.layers, 0.5),
            criterion=criterion.name,
        )
        compressed = compressor.materialise(configuration)
        kept = {name: len(units) for name, units in compressed.kept.items()}
        assert kept == dict(compressed.configuration.channels)
        for layer, mask in compressed.masks.items():
            assert int(mask.sum()) == max(1, round(mask.numel() * 0.5)), layer
        with torch.no_grad():
            assert bool(torch.isfinite(compressed.module(target.example_input)).all())


def _saliency(target: Target) -> Saliency:
    return Saliency(target, structure_of(target))


@lru_cache(maxsize=8)
def _known_saliency(target: Target) -> Saliency:
    """Return the same object for all criteria: moments and gradients take longer than any score."""
    return _saliency(target)


def _scores(
    saliency: Saliency, criterion: Criterion, seed: int = 0, *, backwards: bool = False
) -> dict[str, Tensor]:
    """Return the scores of all weights and units; if `backwards`, compute those of the last layer first."""
    found = {}
    step = -1 if backwards else 1
    for layer in saliency.structure.layers[::step]:
        found[f"weights of {layer}"] = weight_scores(saliency, layer, criterion.name, seed)
    for name in list(saliency.structure.groups)[::step]:
        group = saliency.structure.groups[name]
        found[f"units of {name}"] = channel_scores(saliency, group, criterion.name, seed)
    return found


def _first_scores(criterion: Criterion, target: Target, seed: int = 0) -> Tensor:
    """Return the scores of the channels of a `ChainNet`'s first layer."""
    saliency = _known_saliency(target)
    return channel_scores(saliency, saliency.structure.groups["first"], criterion.name, seed)


def _draws(criterion: Criterion) -> bool:
    """Whether the criterion draws random numbers, so that scores need not mean anything."""
    first, second = (_first_scores(criterion, chain_target(), seed) for seed in (0, 1))
    return not torch.equal(first, second)
