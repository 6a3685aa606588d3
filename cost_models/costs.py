"""Costs of configurations: `Costs` for one target, `CostTable` for the points of a search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from leanfront.core.compressors import Configuration
from leanfront.core.cost_models.batch import (
    Batch,
    BatchedCost,
    Choice,
    Encoder,
    EstimatedCost,
    Floats,
    Frame,
    Integers,
)
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.registry import COST_MODELS, Cost
from leanfront.errors import LeanfrontError, UsageError


class Costs:
    """The cost models of one target, built once.

    A cost model that cannot be built for this target is left out, with the reason in `unavailable`, unless it is
    required. A cost that has to be measured is built only if it is required.

    Args:
        profile: profile of the dense model.
        required: names of measurements that must be available.
        built: costs that were built before, by measurement name; they replace the registered ones.

    Raises:
        UsageError: an unknown name is required.
        LeanfrontError: a required cost model cannot be built for this model.
    """

    def __init__(
        self, profile: Profile, required: Sequence[str] = (), built: Mapping[str, Cost] | None = None
    ) -> None:
        unknown = [name for name in required if name not in COST_MODELS]
        if unknown:
            raise UsageError(f"unknown cost: {', '.join(unknown)}; known: {', '.join(COST_MODELS)}")
        self.profile = profile
        self.unavailable: dict[str, str] = {}
        self._models: dict[str, Cost] = {}
        for name, model in COST_MODELS.items():
            if built is not None and name in built:
                self._models[name] = built[name]
                continue
            if model.measures and name not in required:
                continue
            try:
                self._models[name] = model.build(profile)
            except LeanfrontError as error:
                if name in required:
                    raise
                self.unavailable[name] = str(error)

    def of(self, configuration: Configuration) -> dict[str, float]:
        """Compute all costs, by measurement name, of a configuration that is canonical in the structure."""
        return {name: cost(configuration) for name, cost in self._models.items()}

    def bounds(self, name: str, value: float) -> tuple[float, float] | tuple[None, None]:
        """Return the ends of the 95% interval of a cost's value, or (None, None) if the cost is exact."""
        model = self._models[name]
        return model.bounds(value) if isinstance(model, EstimatedCost) else (None, None)

    @cached_property
    def frame(self) -> Frame:
        """The structure as arrays, for `many`."""
        return Frame(self.profile.structure)

    @property
    def batched(self) -> tuple[str, ...]:
        """Names of the costs that `many` can compute."""
        return tuple(name for name, model in self._models.items() if isinstance(model, BatchedCost))

    def many(self, batch: Batch, names: Sequence[str]) -> Floats:
        """Compute the costs (n, names) of a batch, each equal to the result of `of`.

        Args:
            batch: n configurations, made with `frame`.
            names: names from `batched`.
        """
        columns = [
            model.many(batch) for name in names if isinstance(model := self._models[name], BatchedCost)
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(batch), 0))

    def one(self, name: str, configuration: Configuration) -> float:
        """Compute a single cost of a canonical configuration."""
        return self._models[name](configuration)


class CostTable:
    """Costs of the points of a search space, thousands at a time.

    Args:
        costs: costs of the target.
        choices: parameters of the space, in the order of the index columns.
        configuration: function that turns one index per parameter into a canonical configuration.
        names: measurement names of the costs to compute.
    """

    SAMPLES = 48
    """Number of points to which a cost without a batched form is fitted."""

    def __init__(
        self,
        costs: Costs,
        choices: Mapping[str, Choice],
        configuration: Callable[[Mapping[str, int]], Configuration],
        names: Sequence[str],
    ) -> None:
        self.names = tuple(names)
        self._costs = costs
        self._parameters = tuple(choices)
        self._configuration = configuration
        self._sizes = np.asarray([len(choice.values) for choice in choices.values()], dtype=np.int64)
        dearest = configuration({name: len(choice.values) - 1 for name, choice in choices.items()})
        self._encoder = Encoder(costs.frame, choices, dearest)
        batched = costs.batched
        self._fast = [name for name in self.names if name in batched]
        self._slow = [name for name in self.names if name not in batched]

    @property
    def is_fast(self) -> bool:
        """Whether `exact` is fast: every cost has a batched form."""
        return not self._slow

    def exact(self, indices: Integers) -> Floats:
        """Compute the costs (n, names) of indices (n, parameters); without a batched form, one by one."""
        found = np.empty((len(indices), len(self.names)))
        found[:, self._columns(self._fast)] = self._costs.many(self._encoder.batch(indices), self._fast)
        if self._slow:
            for row, choices in enumerate(indices.tolist()):
                configuration = self._configuration(dict(zip(self._parameters, choices, strict=True)))
                for name in self._slow:
                    found[row, self.names.index(name)] = self._costs.one(name, configuration)
        return found

    def approximate(self, indices: Integers) -> Floats:
        """Compute as `exact` does, but estimate costs without a batched form by a linear fit of the others."""
        batch = self._encoder.batch(indices)
        found = np.empty((len(indices), len(self.names)))
        found[:, self._columns(self._fast)] = self._costs.many(batch, self._fast)
        if self._slow:
            basis, weights, least = self._fit
            rough = self._features(batch, basis) @ weights
            found[:, self._columns(self._slow)] = np.maximum(rough, least)
        return found

    def _columns(self, names: Sequence[str]) -> list[int]:
        return [self.names.index(name) for name in names]

    def _features(self, batch: Batch, basis: Sequence[str]) -> Floats:
        return np.column_stack([np.ones(len(batch)), self._costs.many(batch, basis)])

    @cached_property
    def _fit(self) -> tuple[tuple[str, ...], Floats, Floats]:
        """Least-squares fit of the relative errors at random points: (basis, weights, smallest values seen)."""
        random = np.random.default_rng(0)
        indices = random.integers(0, self._sizes, (self.SAMPLES, len(self._sizes)))
        indices[0], indices[1] = 0, self._sizes - 1
        exact = self.exact(indices)[:, self._columns(self._slow)]
        basis = self._costs.batched
        features = self._features(self._encoder.batch(indices), basis)
        scale = features.max(axis=0)
        scale[scale == 0] = 1.0
        columns = [
            np.linalg.lstsq(features / scale / value[:, None], np.ones(len(value)), rcond=1e-9)[0] / scale
            for value in np.maximum(exact, 1e-300).T
        ]
        return basis, np.column_stack(columns), exact.min(axis=0)
