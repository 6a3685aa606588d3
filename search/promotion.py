"""Which candidate to recover next: what training will give it, learnt from those that have been trained.

Pure: numbers in, numbers out. A gain is validation accuracy after recovery less validation accuracy before.
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
"""Accuracy by which gains scatter about the law, before any is known: the error of a few thousand samples."""
PRIOR = ((0.0, 0.005), (0.5, 0.25), (0.0, 0.3), (0.0, 0.3))
"""Mean and deviation of each weight before any outcome: training gives back half of what was lost, or thereabouts."""
SHAPE = 2.0
"""Of the inverse gamma prior of the noise's variance, whose mean is `NOISE` squared: as good as four outcomes."""
CASES = 9
"""Cases of equal probability that an expected improvement is the mean of."""
EVEN = 0.95
"""Probability of the stated intervals."""


@dataclass(frozen=True)
class Features:
    """What is known of a candidate before it is trained.

    Args:
        drop: the dense model's validation accuracy less its own.
        macs: its multiply-adds over the dense model's.
        memory: its bytes over the dense model's.
    """

    drop: float
    macs: float
    memory: float

    @property
    def row(self) -> list[float]:
        """(4,) what the gain is linear in: a share of the drop, which depends on how much is left."""
        drop = max(0.0, self.drop)
        return [1.0, drop, drop * (1 - self.macs), drop * (1 - self.memory)]

    @property
    def work(self) -> float:
        """What the time of a training is proportional to: the candidate learns, the dense model teaches."""
        return 1.0 + self.macs


@dataclass(frozen=True)
class Outcome:
    """What came of a recovery.

    Args:
        features: of the candidate that was trained.
        gain: in validation accuracy.
        minutes: that it took.
    """

    features: Features
    gain: float
    minutes: float


@dataclass(frozen=True)
class Prediction:
    """What a recovery will give.

    Args:
        gain: in validation accuracy, its mean.
        error: standard error of the gain.
        low, high: ends of its 95% interval.
        minutes: that it will take; None where nothing is known yet.
        points: outcomes that it was learnt from.
    """

    gain: float
    error: float
    low: float
    high: float
    minutes: float | None
    points: int

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


class Predictor:
    """Bayesian linear regression of gains, with the noise's variance unknown too (normal-inverse-gamma).

    Args:
        outcomes: of recoveries with equal settings.

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
        """What recovery will give a candidate."""
        drawn = self._distribution(features)
        low, high = drawn.interval(EVEN)
        rates = [each.minutes / each.features.work for each in self.outcomes]
        minutes = float(np.mean(rates)) * features.work if rates else None
        return Prediction(
            float(drawn.mean()), float(drawn.std()), float(low), float(high), minutes, len(self.outcomes)
        )

    def cases(self, features: Features) -> Floats:
        """(`CASES`,) gains of equal probability."""
        return np.asarray(self._distribution(features).ppf((np.arange(CASES) + 0.5) / CASES))

    @cached_property
    def error(self) -> float | None:
        """Root mean square of what gains differ by from their prediction by all the others; None below two."""
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
    """What recovering each candidate is expected to add to the frontier's hypervolume, costs counted in halvings.

    Where accuracy is no objective it is the expected accuracy itself that counts.

    Args:
        predictor: of gains.
        points: of each candidate what is known, and its objective values in natural units.
        front: the frontier's objective values now.
        objectives: in order.
        reference: of the hypervolume.
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
    """Positions of the candidates worth recovering, most expected hypervolume a minute first; as `expected_gains`."""
    gains = expected_gains(predictor, points, front, objectives, reference)
    # Without an outcome minutes are known up to a factor, which is the same for all.
    rates = [gain / features.work for gain, (features, _) in zip(gains, points, strict=True)]
    worth = [i for i, rate in enumerate(rates) if rate > 0]
    return sorted(worth, key=lambda i: (-rates[i], i))
