"""All costs of a configuration at once."""

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

    A model that cannot be built for this target (its reason is in `unavailable`) is left out, unless it was
    asked for; one that takes measuring is left out unless it was.

    Args:
        profile: of the dense model.
        required: measurement names that must be available.
        built: measurement name -> cost that was built already, with more than the profile to go by.

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
        """Measurement name -> value, for a configuration canonical in the profile's structure."""
        return {name: cost(configuration) for name, cost in self._models.items()}

    def bounds(self, name: str, value: float) -> tuple[float, float] | tuple[None, None]:
        """Ends of the 95% interval of a cost's value; None twice where it is exact."""
        model = self._models[name]
        return model.bounds(value) if isinstance(model, EstimatedCost) else (None, None)

    @cached_property
    def frame(self) -> Frame:
        """The structure as arrays, for `many`."""
        return Frame(self.profile.structure)

    @property
    def batched(self) -> tuple[str, ...]:
        """Names of the costs that `many` knows."""
        return tuple(name for name, model in self._models.items() if isinstance(model, BatchedCost))

    def many(self, batch: Batch, names: Sequence[str]) -> Floats:
        """(n, names) costs of a batch, each exactly as `of` gives it.

        Args:
            batch: of `frame`.
            names: some of `batched`.
        """
        columns = [
            model.many(batch) for name in names if isinstance(model := self._models[name], BatchedCost)
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(batch), 0))

    def one(self, name: str, configuration: Configuration) -> float:
        """A single cost of a canonical configuration."""
        return self._models[name](configuration)


class CostTable:
    """Costs of a space's points, thousands at a time.

    Args:
        costs: of the target.
        choices: the space's parameters, in the order of the columns of the indices.
        configuration: the canonical configuration of an index per parameter.
        names: measurement names of the wanted costs.
    """

    SAMPLES = 48
    """Points that a cost without a batched form is fitted to."""

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
        """(n, names) costs of (n, parameters) indices; one by one for costs without a batched form."""
        found = np.empty((len(indices), len(self.names)))
        found[:, self._columns(self._fast)] = self._costs.many(self._encoder.batch(indices), self._fast)
        if self._slow:
            for row, choices in enumerate(indices.tolist()):
                configuration = self._configuration(dict(zip(self._parameters, choices, strict=True)))
                for name in self._slow:
                    found[row, self.names.index(name)] = self._costs.one(name, configuration)
        return found

    def approximate(self, indices: Integers) -> Floats:
        """`exact`, but costs without a batched form are combinations of those with one, fitted to a sample."""
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
        """Least squares of relative errors over random points: (basis, weights, smallest values seen)."""
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
