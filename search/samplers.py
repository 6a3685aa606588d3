"""Samplers by name. A new seeded sampler is made for every ask, so that a resumed search draws the same."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leanfront.deferred import Deferred
from leanfront.errors import UsageError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from leanfront.core.search.context import SamplerContext


@dataclass(frozen=True)
class Sampler:
    """A way to propose configurations.

    Args:
        name: name to give on the command line.
        source: one-line description.
        make: function (seed, context of the search) that returns a new Optuna sampler.
    """

    name: str
    source: str
    make: Callable[[int, SamplerContext], BaseSampler]


def _made(function: str) -> Deferred:
    return Deferred(f"leanfront.core.search.optuna_samplers:{function}")


SAMPLERS: dict[str, Sampler] = {
    each.name: each
    for each in (
        Sampler(
            "auto",
            "Predicted losses corrected by trials, exact costs, expected hypervolume improvement.",
            _made("auto"),
        ),
        Sampler("nsga2", "Optuna's `NSGAIISampler` with polynomial mutation.", _made("nsga2")),
        Sampler("nsga3", "Optuna's `NSGAIIISampler`.", _made("nsga3")),
        Sampler("tpe", "Optuna's `TPESampler`, multivariate.", _made("tpe")),
        Sampler("random", "Optuna's `RandomSampler`.", _made("random")),
    )
}
"""Samplers by name. `auto` falls back to NSGA-II if costs are unknown before an evaluation. To add a sampler, add an
entry here and a function."""


def sampler(name: str, seed: int, context: SamplerContext) -> BaseSampler:
    """Create a sampler for one ask.

    Raises:
        UsageError: the name is unknown.
    """
    from optuna.exceptions import ExperimentalWarning

    check_sampler(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name].make(seed, context)


def check_sampler(name: str) -> None:
    """Refuse an unknown sampler name. Raises `UsageError`."""
    if name not in SAMPLERS:
        raise UsageError(f"unknown sampler '{name}'; choose from {', '.join(SAMPLERS)}")


def derived_seed(seed: int, number: int) -> int:
    """Return the seed of trial `number` of a search: 32 bits of a hash, so that neighbours are unrelated."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=4).digest(), "big")
