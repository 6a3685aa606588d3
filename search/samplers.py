"""Samplers by name. A fresh, seeded one is made for every ask, so that a resumed search draws the same."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.samplers.nsgaii import PolynomialMutation

from leanfront.core.search.context import SamplerContext
from leanfront.core.search.frontier_sampler import FrontierSampler
from leanfront.errors import UsageError

MakeSampler = Callable[[int, SamplerContext], BaseSampler]
"""(seed, context) -> sampler."""


def _auto(seed: int, context: SamplerContext) -> BaseSampler:
    """Predicted losses corrected by trials, exact costs, expected hypervolume improvement."""
    landscape = context.landscape
    return _nsga2(seed, context) if landscape is None else FrontierSampler(landscape, seed)


def _nsga2(seed: int, context: SamplerContext) -> BaseSampler:
    """Optuna's `NSGAIISampler` with polynomial mutation."""
    return NSGAIISampler(population_size=context.population, mutation=PolynomialMutation(), seed=seed)


def _nsga3(seed: int, context: SamplerContext) -> BaseSampler:
    """Optuna's `NSGAIIISampler`."""
    return NSGAIIISampler(population_size=context.population, seed=seed)


def _tpe(seed: int, context: SamplerContext) -> BaseSampler:
    """Optuna's `TPESampler`, multivariate."""
    return TPESampler(multivariate=True, seed=seed)


def _random(seed: int, context: SamplerContext) -> BaseSampler:
    """Optuna's `RandomSampler`."""
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, MakeSampler] = {
    "auto": _auto,
    "nsga2": _nsga2,
    "nsga3": _nsga3,
    "tpe": _tpe,
    "random": _random,
}
"""Samplers by name; `auto` is NSGA-II where no costs are known beforehand."""


def sampler(name: str, seed: int, context: SamplerContext) -> BaseSampler:
    """A sampler for one ask.

    Raises:
        UsageError: unknown name.
    """
    check_sampler(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name](seed, context)


def check_sampler(name: str) -> None:
    """Refuse an unknown sampler name."""
    if name not in SAMPLERS:
        raise UsageError(f"unknown sampler '{name}'; choose from {', '.join(SAMPLERS)}")


def derived_seed(seed: int, number: int) -> int:
    """The seed of trial `number` of a search: 32 bits of a hash, so that neighbours are unrelated."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=4).digest(), "big")


optuna.logging.set_verbosity(optuna.logging.WARNING)
