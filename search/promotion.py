"""Choice of the candidate to recover next, by predicting gains from earlier recoveries.

Pure functions of numbers. A gain is the validation accuracy after recovery minus that before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanfront.core.objectives import Objective, normalised_hypervolume

Floats = NDArray[np.float64]

NOISE = 0.015
"""Standard deviation of gains around the prediction before any is known: the error of a few thousand samples."""
PRIOR = ((0.0, 0.005), (0.5, 0.25), (0.0, 0.3), (0.0, 0.3))
"""Prior mean and deviation of each weight: training restores about half of the lost accuracy."""
SHAPE = 2.0
"""Shape of the inverse gamma prior of the noise variance, whose mean is `NOISE` squared; worth four outcomes."""
CASES = 9
"""Number of equally probable cases whose mean is an expected improvement."""
EVEN = 0.95
"""Probability of the reported intervals."""


@dataclass(frozen=True)
class Features:
    """Features of a candidate that is to be trained.

    Args:
        drop: validation accuracy of the dense model minus the candidate's.
        macs: multiply-adds relative to the dense model's.
        memory: bytes relative to the dense model's.
    """

    drop: float
    macs: float
    memory: float

    @property
    def row(self) -> list[float]:
        """(4,) inputs of the linear model of the gain: a share of the drop, which depends on the remaining size."""
        drop = max(0.0, self.drop)
        return [1.0, drop, drop * (1 - self.macs), drop * (1 - self.memory)]

    @property
    def work(self) -> float:
        """Value to which the training time is proportional: the candidate learns, the dense model teaches."""
        return 1.0 + self.macs


@dataclass(frozen=True)
class Outcome:
    """Result of a recovery, to learn from.

    Args:
        features: features of the trained candidate.
        gain: gain in validation accuracy.
        minutes: duration in minutes.
    """

    features: Features
    gain: float
    minutes: float


@dataclass(frozen=True)
class Prediction:
    """Predicted result of a recovery.

    Args:
        gain: mean gain in validation accuracy.
        error: standard error of the gain.
        low, high: ends of the gain's 95% interval.
        minutes: predicted duration; None if nothing is known yet.
        points: number of outcomes behind the prediction.
    """

    gain: float
    error: float
    low: float
    high: float
    minutes: float | None
    points: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return asdict(self)


class Predictor:
    """Bayesian linear regression of gains with unknown noise variance (normal-inverse-gamma).

    Args:
        outcomes: outcomes of recoveries with equal settings.

    Source:
        Gelman et al., Bayesian Data Analysis, 3rd edition, section 14.8: conjugate prior, Student's t prediction.
    """

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = tuple(outcomes)
        rows = np.asarray([each.features.row for each in outcomes]).reshape(-1, len(PRIOR))
        gains = np.asarray([each.gain for each in outcomes], dtype=np.float64)
        mean, deviation = np.asarray(PRIOR).T
        before = np.diag((NOISE / deviation) ** 2)
        after = before + rows.T @ rows
        self._covariance = np.linalg.inv(after)
        self._mean = np.linalg.solve(after, before @ mean + rows.T @ gains)
        rest, moved = gains - rows @ self._mean, self._mean - mean
        self._shape = SHAPE + len(gains) / 2
        self._scale = NOISE**2 * (SHAPE - 1) + float(rest @ rest + moved @ before @ moved) / 2

    def predict(self, features: Features) -> Prediction:
        """Predict the result of recovering a candidate."""
        drawn = self._distribution(features)
        low, high = drawn.interval(EVEN)
        rates = [each.minutes / each.features.work for each in self.outcomes]
        minutes = float(np.mean(rates)) * features.work if rates else None
        return Prediction(
            float(drawn.mean()), float(drawn.std()), float(low), float(high), minutes, len(self.outcomes)
        )

    def cases(self, features: Features) -> Floats:
        """Return (`CASES`,) equally probable gains."""
        return np.asarray(self._distribution(features).ppf((np.arange(CASES) + 0.5) / CASES))

    @cached_property
    def error(self) -> float | None:
        """Root mean square leave-one-out error of predicted gains; None below two outcomes."""
        if len(self.outcomes) < 2:
            return None
        misses = [
            each.gain - Predictor(self.outcomes[:i] + self.outcomes[i + 1 :]).predict(each.features).gain
            for i, each in enumerate(self.outcomes)
        ]
        return math.sqrt(math.fsum(miss**2 for miss in misses) / len(misses))

    def _distribution(self, features: Features) -> Any:
        from scipy import stats  # a second to import, and most searches recover nothing

        row = np.asarray(features.row)
        spread = math.sqrt(self._scale / self._shape * (1 + float(row @ self._covariance @ row)))
        return stats.t(2 * self._shape, loc=float(row @ self._mean), scale=spread)


def expected_gains(
    predictor: Predictor,
    points: Sequence[tuple[Features, Sequence[float]]],
    front: Sequence[Sequence[float]],
    objectives: Sequence[Objective],
    reference: Mapping[str, float],
) -> list[float]:
    """Return the hypervolume that recovering each candidate is expected to add, with costs in halvings.

    If accuracy is not an objective, the expected accuracy is returned instead.

    Args:
        predictor: predictor of gains.
        points: features and objective values (natural units) of each candidate.
        front: objective values of the current frontier.
        objectives: objectives, in order.
        reference: reference of the hypervolume.
    """
    places = [i for i, objective in enumerate(objectives) if objective.measurement == "accuracy"]
    cases = [predictor.cases(features) for features, _ in points]
    if not places:
        return [float(np.maximum(each, 0.0).mean()) for each in cases]

    def volume(values: Sequence[Sequence[float]]) -> float:
        return float(normalised_hypervolume(values, objectives, reference, log2=True))

    (place,) = places
    now, found = volume(front), []
    for gains, (_, values) in zip(cases, points, strict=True):
        added = 0.0
        for gain in gains:
            point = list(values)
            point[place] = min(1.0, point[place] + float(gain))
            added += max(0.0, volume([*front, point]) - now)
        found.append(added / CASES)
    return found


def ranked(
    predictor: Predictor,
    points: Sequence[tuple[Features, Sequence[float]]],
    front: Sequence[Sequence[float]],
    objectives: Sequence[Objective],
    reference: Mapping[str, float],
) -> list[int]:
    """Return the positions of candidates worth recovering, by falling expected hypervolume per minute."""
    gains = expected_gains(predictor, points, front, objectives, reference)
    # Without outcomes, minutes are known up to a factor that is the same for all candidates.
    rates = [gain / features.work for gain, (features, _) in zip(gains, points, strict=True)]
    worth = [i for i, rate in enumerate(rates) if rate > 0]
    return sorted(worth, key=lambda i: (-rates[i], i))
