"""The sampler of our own: what it proposes, and what it falls back to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from optuna.samplers import NSGAIISampler

from leanfront.core.objectives import hypervolume
from leanfront.core.search.context import SamplerContext
from leanfront.core.search.frontier_sampler import FrontierSampler
from leanfront.core.search.samplers import sampler
from leanfront.core.search.seeds import seeds
from leanfront.core.search.space_options import SpaceOptions
from leanfront.core.search.study import SearchStudy

MakeContext = Callable[..., SamplerContext]


def measured(context: SamplerContext, choices: dict[str, int]) -> tuple[float, ...]:
    """Exact costs, and a metric that falls with losses other than the predicted ones."""
    landscape = context.landscape
    assert landscape is not None
    point = np.asarray([list(choices.values())])
    wrong = np.random.default_rng(3).lognormal(0.5, 0.7, (len(landscape.sizes), 1))
    loss = float((landscape.losses * wrong)[np.arange(len(landscape.sizes)), point[0]].sum())
    costs = iter(landscape.table.exact(point)[0].tolist())
    values = []
    for objective in context.objectives:
        worst, best = context.reference[objective.name], context.dense[objective.name]
        values.append(
            next(costs) if objective.is_cost else worst + (best - worst) * float(np.exp(-(loss**0.9)))
        )
    return tuple(values)


def run(context: SamplerContext, name: str, trials: int, seeded: bool = False) -> list[tuple[float, ...]]:
    study = SearchStudy(context, sampler_name=name, seed=1, seeds=seeds(context) if seeded else ())
    values = []
    for _ in range(trials):
        trial, choices = study.ask()
        values.append(measured(context, choices))
        study.tell(trial, values[-1])
    return values


def volume(context: SamplerContext, values: list[tuple[float, ...]]) -> float:
    landscape = context.landscape
    assert landscape is not None
    found = np.asarray(values)
    gains = landscape.cost_gains(found[:, landscape.columns])
    shares = landscape.share(found[:, landscape.metric])
    return hypervolume(-np.column_stack([shares - 0.45, gains]), np.zeros(1 + gains.shape[1]))


@pytest.mark.parametrize("objectives", ["accuracy,memory", "accuracy,memory,macs"])
def test_it_is_ahead_of_the_others(make_context: MakeContext, objectives: str) -> None:
    context = make_context(objectives)
    found = {
        name: volume(context, run(context, name, 40, name != "auto")) for name in ("auto", "nsga2", "tpe")
    }
    assert found["auto"] > 1.02 * max(found["nsga2"], found["tpe"])


def test_its_first_trials_span_the_trade_off(known: SamplerContext) -> None:
    ten = volume(known, run(known, "auto", 10))
    assert ten > 0.7 * volume(known, run(known, "auto", 60))


@pytest.mark.parametrize(
    ("objectives", "options"),
    [
        ("macs,cross_entropy", SpaceOptions()),
        ("accuracy,file_size", SpaceOptions(bits=(2, 4, 8))),
        ("accuracy,memory,macs,activation_memory", SpaceOptions(activation_bits="search")),
        ("accuracy,memory,sparse_macs", SpaceOptions(sparsity="unstructured")),
        ("accuracy,memory,bops", SpaceOptions(sparsity="2:4", activation_bits="8")),
    ],
)
def test_other_searches_get_ahead_too(
    make_context: MakeContext, objectives: str, options: SpaceOptions
) -> None:
    context = make_context(objectives, options)
    assert isinstance(sampler("auto", 0, context), FrontierSampler)
    values = run(context, "auto", 14)
    assert volume(context, values) > 1.05 * volume(context, run(context, "random", 14))


def test_nothing_is_tried_twice_until_everything_was(make_context: MakeContext) -> None:
    context = make_context(options=SpaceOptions(bits=(8,)), sensitivities=None)
    landscape = context.landscape
    assert landscape is not None
    size = int(landscape.sizes.prod())
    assert size <= 600
    study = SearchStudy(context, sampler_name="auto", seed=0)
    tried = []
    for _ in range(60):
        trial, choices = study.ask()
        tried.append(tuple(choices.values()))
        study.tell(trial, None if len(tried) % 5 == 0 else measured(context, choices))
    assert len(set(tried)) == len(tried)


def test_an_exhausted_space_repeats(make_context: MakeContext) -> None:
    context = make_context(options=SpaceOptions(bits=(8,)), sensitivities=None)
    landscape = context.landscape
    assert landscape is not None
    everything = {np.asarray(point).tobytes() for point in np.ndindex(*landscape.sizes)}
    proposer = FrontierSampler(landscape, 0)
    point = proposer._propose([], [], everything)
    assert (point < landscape.sizes).all()


def test_trials_in_flight_differ(known: SamplerContext) -> None:
    study = SearchStudy(known, sampler_name="auto", seed=2)
    asked = [study.ask() for _ in range(6)]
    assert len({tuple(choices.values()) for _, choices in asked}) == 6
    for trial, choices in asked:
        study.tell(trial, measured(known, choices))
    waiting = [study.ask()[1] for _ in range(4)]
    assert len({tuple(choices.values()) for choices in waiting}) == 4


@pytest.mark.parametrize(
    "objectives", ["accuracy,cross_entropy,memory", "memory,macs", "accuracy,cross_entropy"]
)
def test_other_problems_fall_back_to_nsga2(make_context: MakeContext, objectives: str) -> None:
    assert isinstance(sampler("auto", 0, make_context(objectives)), NSGAIISampler)


def test_unknown_costs_fall_back_to_nsga2(known: SamplerContext) -> None:
    assert isinstance(sampler("auto", 0, SamplerContext(known.space, known.objectives)), NSGAIISampler)
