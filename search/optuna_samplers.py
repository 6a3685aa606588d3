"""Functions that create the samplers of `samplers.SAMPLERS`."""

from __future__ import annotations

import optuna
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.samplers.nsgaii import PolynomialMutation

from leanfront.core.search.context import SamplerContext
from leanfront.core.search.frontier_sampler import FrontierSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)


def auto(seed: int, context: SamplerContext) -> BaseSampler:
    """Create a `FrontierSampler`: corrected predictions, exact costs, expected hypervolume improvement."""
    landscape = context.landscape
    return nsga2(seed, context) if landscape is None else FrontierSampler(landscape, seed)


def nsga2(seed: int, context: SamplerContext) -> BaseSampler:
    """Create Optuna's `NSGAIISampler` with polynomial mutation."""
    return NSGAIISampler(population_size=context.population, mutation=PolynomialMutation(), seed=seed)


def nsga3(seed: int, context: SamplerContext) -> BaseSampler:
    """Create Optuna's `NSGAIIISampler`."""
    return NSGAIIISampler(population_size=context.population, seed=seed)


def tpe(seed: int, context: SamplerContext) -> BaseSampler:
    """Create Optuna's `TPESampler`, multivariate."""
    return TPESampler(multivariate=True, seed=seed)


def random(seed: int, context: SamplerContext) -> BaseSampler:
    """Create Optuna's `RandomSampler`."""
    return RandomSampler(seed=seed)
