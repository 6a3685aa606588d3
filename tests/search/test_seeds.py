"""First trials: on the predicted trade-off, the most useful first."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from leanfront.core.objectives import hypervolume
from leanfront.core.search.context import LOST, SamplerContext, predicted_losses
from leanfront.core.search.seeds import EXPONENT, SCALES, seeds, sweep, uniform_seeds
from leanfront.core.search.space_options import SpaceOptions


def test_sweep_finds_what_enumeration_finds(make_context: Callable[..., SamplerContext]) -> None:
    """Costs couple the parameters, so no descent is sure to: on this space it misses by a hundredth at most."""
    context = make_context(options=SpaceOptions(bits=(3, 8)))
    landscape = context.landscape
    assert landscape is not None
    everything = np.asarray(list(itertools.product(*(range(size) for size in landscape.sizes))))
    loss, gains = landscape.loss(everything), landscape.gains(everything)
    wanted = np.asarray([[0.001, 0.002], [0.02, 0.0], [0.0, 0.05], [0.1, 0.1]])
    found = sweep(landscape, landscape.losses, wanted)
    values = landscape.loss(found) - (landscape.gains(found) * wanted).sum(axis=1)
    best = (loss[:, None] - gains @ wanted.T).min(axis=0)
    assert values == pytest.approx(best, abs=0.01)


def test_no_single_change_makes_a_solution_better(known: SamplerContext) -> None:
    landscape = known.landscape
    assert landscape is not None
    wanted = np.asarray([[0.003, 0.01]])
    (point,) = sweep(landscape, landscape.losses, wanted, rounds=20)
    changed = [
        [*point[:column], value, *point[column + 1 :]]
        for column, size in enumerate(landscape.sizes)
        for value in range(size)
    ]
    tried = np.asarray([point, *changed])
    values = landscape.loss(tried) - landscape.gains(tried) @ wanted[0]
    assert values[0] <= values.min() + 1e-12


@pytest.mark.parametrize(
    "objectives", ["accuracy,memory", "accuracy,memory,macs", "memory,cross_entropy,bops,macs"]
)
@pytest.mark.parametrize(
    "options", [SpaceOptions(), SpaceOptions(sparsity="unstructured", activation_bits="search")]
)
def test_seeds_are_unique_and_come_in_order_of_their_gain(
    make_context: Callable[..., SamplerContext], objectives: str, options: SpaceOptions
) -> None:
    context = make_context(objectives, options)
    landscape = context.landscape
    assert landscape is not None
    found = seeds(context, 8)
    assert 4 <= len(found) <= 8
    points = np.asarray([[seed[name] for name in landscape.parameters] for seed in found])
    assert len(np.unique(points, axis=0)) == len(points)
    assert (points >= 0).all()
    assert (points < landscape.sizes).all()
    assert seeds(context, 3) == found[:3]
    # Each adds no more to the predicted hypervolume than the one before it.
    loss, gains = landscape.loss(points), landscape.gains(points)
    volumes = [
        np.mean(
            [
                hypervolume(
                    -np.column_stack([np.exp(-((scale * loss[:count]) ** EXPONENT)) - LOST, gains[:count]]),
                    np.zeros(1 + gains.shape[1]),
                )
                for scale in SCALES
            ]
        )
        for count in range(len(points) + 1)
    ]
    added = np.diff(volumes)
    assert (added > 0).all()
    assert (np.diff(added) <= 1e-9).all()


def test_without_predictions_seeds_are_uniform(make_context: Callable[..., SamplerContext]) -> None:
    context = make_context(sensitivities=None)
    assert seeds(context) == uniform_seeds(context.space)
    two = make_context("accuracy,cross_entropy,memory")
    assert two.landscape is None
    assert seeds(two) == uniform_seeds(two.space)


def test_uniform_seeds_are_unique_and_start_near_dense(known: SamplerContext) -> None:
    found = uniform_seeds(known.space)
    assert found[0] == known.space.dearest
    assert len({tuple(seed.items()) for seed in found}) == len(found)


def test_predicted_losses_fall_towards_dense(known: SamplerContext) -> None:
    losses = predicted_losses(known.space, known.sensitivities)
    assert known.sensitivities is not None
    for row, parameter in zip(losses, known.space.parameters.values(), strict=True):
        used = row[: len(parameter.values)]
        assert (np.diff(used) <= 0).all()
        assert np.isinf(row[len(parameter.values) :]).all()
        if parameter.kind == "weight":
            measured = known.sensitivities.weights[parameter.subject]
            assert used.tolist() == [measured[bits] for bits in parameter.values]


def test_a_layer_that_was_not_measured_is_like_the_others(
    make_context: Callable[..., SamplerContext], known: SamplerContext
) -> None:
    whole = known.sensitivities
    assert whole is not None
    first, *rest = whole.weights
    part = type(whole)(whole.channels, {name: whole.weights[name] for name in rest}, {}, {})
    losses = predicted_losses(known.space, part)
    names = list(known.space.parameters)
    others = losses[[names.index(f"weight/{name}") for name in rest]]
    assert losses[names.index(f"weight/{first}")] == pytest.approx(others.mean(axis=0))
    guessed = predicted_losses(known.space, None)
    assert (guessed[:, 0] > guessed[:, 1]).all()
