"""A sampler that maximises the expected gain in hypervolume, with known costs and predicted accuracy."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from leanfront.core.objectives import nondominated
from leanfront.core.search.context import LOST, Floats, Integers, Landscape
from leanfront.core.search.improvement import Improvement
from leanfront.core.search.seeds import PRICES, sweep
from leanfront.core.search.surrogate import Hyperparameters, Surrogate, choose

FLOORS = (LOST, 0.75, 0.92)
"""Shares of the dense model's lead below which points count for nothing, used in turn. On logarithmic costs most
volume lies with tiny models, so two of three trials look near the dense model, where most shipped models are."""
TRIALS = 400
"""Largest number of trials that the surrogate is conditioned on."""
RENEWAL, CHOOSING = 12, 120
"""Number of trials between two choices of the hyperparameters, and number of latest trials used for it."""
POOL = 900
"""Number of neighbours and offspring of frontier members that are compared first."""
SWEEPS = 12
"""Number of solutions of the corrected problem among them, at random prices."""
CLIMBERS, CLIMBS, STEPS = 10, 3, 40
"""Number of candidates that are improved further, of rounds, and of neighbours of each per round."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
SHORT, SLOW = 128, 32
"""Number of candidates whose expected improvement is computed; the second if a cost has no fast form or there
are many costs."""
HOPE = 0.2
"""Optimism when candidates are preselected: the log of the loss is taken this much smaller than expected."""


class FrontierSampler(BaseSampler):
    """Proposes the point of largest expected hypervolume improvement found by a local search.

    It keeps no state between trials: everything is drawn from the seed and the study's trials, so that a rebuilt
    study continues identically. Running trials count as if they had their predicted values, so that several can be
    asked for at once. A tried point is proposed again only if no others are left.

    Args:
        landscape: landscape of the search.
        seed: seed of every random choice.

    Source: expected hypervolume improvement: Emmerich, Giannakoglou & Naujoks 2006.
    """

    def __init__(self, landscape: Landscape, seed: int) -> None:
        self._landscape = landscape
        self._random = np.random.default_rng(seed)
        self._independent = RandomSampler(seed=seed)
        self._floor = LOST

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters of the space."""
        return dict(self._landscape.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the next point."""
        if "fixed_params" in trial.system_attrs:
            return {}  # the trial is enqueued, so a proposal would be ignored
        self._floor = FLOORS[trial.number % len(FLOORS)]
        landscape = self._landscape
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        known = [other for other in trials if len(other.params) == len(landscape.parameters)]
        told = [other for other in known if other.state == TrialState.COMPLETE]
        pending = [other for other in known if other.state == TrialState.RUNNING]
        tried = {self._point(other).tobytes() for other in known}
        return landscape.choices(self._propose(told, pending, tried))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw uniformly, for parameters outside of the space."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _point(self, trial: FrozenTrial) -> Integers:
        return np.asarray([trial.params[name] for name in self._landscape.parameters], dtype=np.int64)

    def _points(self, trials: Sequence[FrozenTrial]) -> Integers:
        count = len(self._landscape.parameters)
        return np.asarray([self._point(trial) for trial in trials], dtype=np.int64).reshape(-1, count)

    def _propose(
        self, told: Sequence[FrozenTrial], pending: Sequence[FrozenTrial], tried: set[bytes]
    ) -> Integers:
        landscape = self._landscape
        points = self._points(told)
        values = np.asarray([trial.values for trial in told]).reshape(len(told), len(landscape.objectives))
        shares = landscape.share(values[:, landscape.metric])
        gains = landscape.cost_gains(values[:, landscape.columns])
        surrogate = self._surrogate(points, shares, gains)
        if pending:
            waiting = self._points(pending)
            expected = surrogate.share(surrogate.predict(waiting)[0])
            points = np.vstack([points, waiting])
            shares = np.append(shares, expected)
            gains = np.vstack([gains, landscape.gains(waiting)])
            surrogate = self._surrogate(points, shares, gains, surrogate.hyperparameters)
        improvement = Improvement(shares - self._floor, gains)
        front = points[_nondominated(shares, gains)] if len(points) else points
        return self._search(surrogate, improvement, front, tried)

    def _surrogate(
        self,
        points: Integers,
        shares: Floats,
        gains: Floats,
        hyperparameters: Hyperparameters | None = None,
    ) -> Surrogate:
        landscape = self._landscape
        arguments = landscape.losses, landscape.kinds, landscape.sizes
        if hyperparameters is None:
            # Chosen from trials up to a round number only, so that the trials in between choose alike.
            prefix = len(points) // RENEWAL * RENEWAL
            start = max(0, prefix - CHOOSING)
            key = hashlib.sha256(points[start:prefix].tobytes() + shares[start:prefix].tobytes()).digest()
            if key not in landscape.chosen:
                landscape.chosen[key] = choose(*arguments, points[start:prefix], shares[start:prefix])
            hyperparameters = landscape.chosen[key]
        if len(points) > TRIALS:
            recent = np.arange(len(points)) >= len(points) - TRIALS // 2
            keep = np.flatnonzero(recent | _nondominated(shares, gains))[-TRIALS:]
            points, shares = points[keep], shares[keep]
        return Surrogate(*arguments, points, shares, hyperparameters)

    def _search(
        self, surrogate: Surrogate, improvement: Improvement, front: Integers, tried: set[bytes]
    ) -> Integers:
        landscape = self._landscape
        fast = landscape.table.is_fast and len(landscape.columns) <= 2
        pool = self._pool(surrogate, front)
        best, values = self._ranked(pool, surrogate, improvement, tried, fast)
        for _ in range(CLIMBS if fast else 1):
            if not len(best):
                break
            offspring = self._neighbours(best[:CLIMBERS], CLIMBERS * STEPS)
            found, gained = self._ranked(offspring, surrogate, improvement, tried, fast)
            if not len(found):
                break
            better = len(values) == 0 or gained[0] > values[0]
            best = np.vstack([best, found])
            values = np.append(values, gained)
            order = np.argsort(-values, kind="stable")
            best, values = best[order], values[order]
            if not better:
                break
        if len(best):
            return np.asarray(best[0], dtype=np.int64)
        return self._random_point(tried)

    def _pool(self, surrogate: Surrogate, front: Integers) -> Integers:
        landscape, random = self._landscape, self._random
        costs = len(landscape.columns)
        total = np.exp(random.uniform(np.log(PRICES[0]), np.log(PRICES[-1]), SWEEPS))
        wanted = total[:, None] * random.dirichlet(np.ones(costs), SWEEPS)
        start = front[random.integers(len(front), size=SWEEPS)] if len(front) else None
        losses = np.where(np.isfinite(landscape.losses), surrogate.corrected, np.inf)
        solutions = sweep(landscape, losses, wanted, start, rounds=2)
        parents = np.vstack([front, solutions])
        return np.unique(
            np.vstack(
                [
                    solutions,
                    self._neighbours(parents, 2 * POOL // 3),
                    self._neighbours(self._crossed(parents, POOL // 6), POOL // 6),
                    self._crossed(parents, POOL // 6),
                ]
            ),
            axis=0,
        )

    def _neighbours(self, points: Integers, count: int) -> Integers:
        """Return points that differ from given ones in one to three parameters, mostly by one step."""
        random, sizes = self._random, self._landscape.sizes
        children = points[random.integers(len(points), size=count)]
        changes = random.choice([1, 2, 3], p=[0.4, 0.35, 0.25], size=count)
        for change in range(3):
            rows = np.flatnonzero(changes > change)
            columns = random.integers(len(sizes), size=len(rows))
            step = random.choice([-2, -1, 1, 2], p=[0.15, 0.35, 0.35, 0.15], size=len(rows))
            children[rows, columns] = np.clip(children[rows, columns] + step, 0, sizes[columns] - 1)
        return np.asarray(children, dtype=np.int64)

    def _crossed(self, points: Integers, count: int) -> Integers:
        random = self._random
        mothers, fathers = (points[random.integers(len(points), size=count)] for _ in range(2))
        share = random.beta(1, 1, size=(count, 1))
        return np.where(random.random(mothers.shape) < share, mothers, fathers)

    def _ranked(
        self, pool: Integers, surrogate: Surrogate, improvement: Improvement, tried: set[bytes], fast: bool
    ) -> tuple[Integers, Floats]:
        """Return the untried points of a pool by falling expected improvement, with that improvement."""
        landscape = self._landscape
        fresh = [row for row, point in enumerate(pool) if point.tobytes() not in tried]
        pool = pool[fresh]
        if not len(pool):
            return pool, np.zeros(0)
        gains = landscape.gains(pool, exact=False)
        mean = surrogate.mean(pool)
        # First by one optimistic case each, then the promising ones by all cases.
        hopeful = surrogate.share(mean - HOPE)[:, None] - self._floor
        if len(landscape.columns) <= 2:
            rough = improvement.of(hopeful, gains)[:, 0]
        else:
            rough = hopeful[:, 0] * np.maximum(gains, 0.0).prod(axis=1)
        kept = np.argsort(-rough, kind="stable")[: SHORT if fast else SLOW]
        pool = pool[kept]
        gains = gains[kept] if fast else landscape.gains(pool)
        mean, deviation = surrogate.predict(pool)
        shares = surrogate.share(mean[:, None] + deviation[:, None] * NODES) - self._floor
        expected = improvement.of(shares, gains) @ WEIGHTS
        order = np.argsort(-expected, kind="stable")
        return pool[order], np.asarray(expected[order], dtype=np.float64)

    def _random_point(self, tried: set[bytes]) -> Integers:
        """Return a random point, untried if a thousand draws find one."""
        for _ in range(1000):
            point = self._random.integers(0, self._landscape.sizes)
            if point.tobytes() not in tried:
                break
        return np.asarray(point, dtype=np.int64)


def _nondominated(shares: Floats, gains: Floats) -> NDArray[np.bool_]:
    return nondominated(-np.column_stack([shares, gains]))
