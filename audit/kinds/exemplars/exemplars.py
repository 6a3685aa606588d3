"""Exemplars: the samples on which compressed models disagree with dense ones (PIE).

From the predictions of two populations, dense and compressed, it computes modal labels, the samples on which they
differ, the noise floor by two dense populations, and the accuracy on those samples.

Source: S. Hooker et al., "What do compressed deep neural networks forget?", arXiv 1911.05248; the score without
ties is the taxicab form of Hooker et al., "Characterising bias in compressed models", arXiv 2010.03058.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leanfront.core.objectives.documents import plain
from leanfront.errors import UsageError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

SPLITS = 20
"""Number of random halves for a noise floor."""

GALLERY = 100
"""Number of exemplars listed in a document."""


@dataclass(frozen=True)
class Modal:
    """The most frequent answers of a population of K models.

    Args:
        labels: (N,) the most frequent prediction; of equally frequent ones the largest label.
        shares: (N,) share of the K models that predict it, in [1 / K, 1].
        tied: (N,) whether another label is as frequent.
    """

    labels: Integers
    shares: Floats
    tied: Booleans


@dataclass(frozen=True)
class NoiseFloor:
    """The difference between two populations of the same dense models.

    Args:
        rate: mean PIE rate between two random halves of the dense population, percent.
        rate_low, rate_high: smallest and largest rate of the splits.
        score: mean score between the halves, in [0, 1].
        matched_rate: mean PIE rate, percent, between one dense half and as many compressed models, made from the
            other half if both populations have the same size. Compare it with `rate`: a rate between whole
            populations rests on more votes.
        matched_score: mean score of the same comparison.
        members: models in each half, K // 2; with an odd K, another model is left out each time.
        splits: number of random halves.
    """

    rate: float
    rate_low: float
    rate_high: float
    score: float
    matched_rate: float
    matched_score: float
    members: int
    splits: int


@dataclass(frozen=True)
class Subset:
    """Mean accuracy of the models of each population on some of the samples, as shares.

    Args:
        count: number of samples.
        dense_top1, top1: top-1 accuracies; None without samples.
        dense_top5, top5: top-5 accuracies; None without samples or without top-5 hits.
    """

    count: int
    dense_top1: float | None
    top1: float | None
    dense_top5: float | None
    top5: float | None


@dataclass(frozen=True)
class Exemplars:
    """The exemplars of one compressed population against the dense one.

    Args:
        truth: (N,) labels.
        dense, compressed: modal labels.
        dense_members, members: number of models in each population.
        mask: (N,) whether the sample is an exemplar, which means that the modal labels differ.
        scores: (N,) halved taxicab distance between the shares of votes: 0 where both populations vote alike, 1
            where they share no label. It does not depend on how ties are broken.
        ranking: exemplars by descending score, then by descending share of the dense mode, then by number.
        subsets: accuracy on ``all`` samples, ``exemplars`` and ``others``.
        dense_right, compressed_right: number of exemplars whose dense, compressed mode is the truth.
        floor: noise floor; None with fewer than two dense models.
        floor_reason: why there is no floor.
    """

    truth: Integers
    dense: Modal
    compressed: Modal
    dense_members: int
    members: int
    mask: Booleans
    scores: Floats
    ranking: Integers
    subsets: Mapping[str, Subset]
    dense_right: int
    compressed_right: int
    floor: NoiseFloor | None
    floor_reason: str | None

    @property
    def rate(self) -> float:
        """PIE rate: 100 mean(mask), percent."""
        return 100 * float(self.mask.mean())

    @property
    def score(self) -> float:
        """Mean score over the samples, in [0, 1]."""
        return float(self.scores.mean())

    def to_json(self, gallery: int = GALLERY) -> dict[str, Any]:
        """Return the document: all numbers, and the first exemplars of the ranking.

        Args:
            gallery: largest number of exemplars listed.
        """
        count = int(self.mask.sum())
        return {
            "samples": len(self.truth),
            "dense_members": self.dense_members,
            "members": self.members,
            "count": count,
            "rate": self.rate,
            "score": self.score,
            "floor": plain(self.floor),
            "floor_reason": self.floor_reason,
            "subsets": plain(self.subsets),
            "dense_right": self.dense_right,
            "compressed_right": self.compressed_right,
            "neither_right": count - self.dense_right - self.compressed_right,
            "dense_ties": int(self.dense.tied.sum()),
            "compressed_ties": int(self.compressed.tied.sum()),
            "tied_exemplars": int((self.mask & (self.dense.tied | self.compressed.tied)).sum()),
            "gallery": [self._entry(int(place)) for place in self.ranking[:gallery]],
        }

    def _entry(self, place: int) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "index": place,
            "truth": int(self.truth[place]),
            "score": float(self.scores[place]),
        }
        for name, modal in (("dense", self.dense), ("compressed", self.compressed)):
            entry[name] = int(modal.labels[place])
            entry[f"{name}_share"] = float(modal.shares[place])
            entry[f"{name}_tied"] = bool(modal.tied[place])
        return entry


def modal(predictions: ArrayLike) -> Modal:
    """Find the most frequent prediction for each sample; ties go to the largest label.

    Args:
        predictions: (K, N) integers.

    Raises:
        UsageError: the array has another shape or type, or is empty.

    Source: Hooker et al. 2019, and the tie rule of their published code.
    """
    found = _population("predictions", predictions)
    votes = _votes(found, found)
    most = votes.max(axis=0)
    labels = np.where(votes == most, found, np.iinfo(np.int64).min).max(axis=0)
    tied = ((votes == most) & (found != labels)).any(axis=0)
    return Modal(labels, most / len(found), tied)


def taxicab(first: Integers, second: Integers) -> Floats:
    """Return how differently two populations vote on each sample, as half the distance of their shares of votes.

    This is the total variation distance: 0 if the shares are equal, 1 if no label got votes from both.

    Args:
        first: (K, N) predictions.
        second: (L, N) predictions; L may differ from K.

    Returns:
        (N,) float64 in [0, 1].

    Source: Hooker et al. 2020, taxicab exemplars; halved so that the range is [0, 1].
    """
    k, n = len(first), len(second)
    ordered = np.sort(first, axis=0)
    fresh = np.ones(ordered.shape, dtype=np.bool_)
    fresh[1:] = ordered[1:] != ordered[:-1]
    # In units of 1 / (k n), so that the comparison of shares is exact.
    gaps = np.abs(n * _votes(ordered, first) - k * _votes(ordered, second))
    distance = (gaps * fresh).sum(axis=0) + k * (_votes(second, first) == 0).sum(axis=0)
    halved: Floats = distance / (2 * k * n)
    return halved


def noise_floor(
    dense: ArrayLike, compressed: ArrayLike, *, splits: int = SPLITS, seed: int = 0
) -> NoiseFloor:
    """Measure how much random halves of the dense population differ, and the compressed population at that size.

    Args:
        dense: (K, N) integers, predictions; K at least 2.
        compressed: (L, N) integers, predictions. If L = K, member k must be made from dense member k, or be
            independent of all.
        splits: number of random halves, at least 1.
        seed: seed of the halves.

    Raises:
        UsageError: there are fewer than two dense models or no splits, or arrays do not fit.
    """
    first, second = _populations(dense, compressed)
    if len(first) < 2:
        raise UsageError("a noise floor needs two or more dense models: one cannot be split")
    if splits < 1:
        raise UsageError(f"a noise floor needs at least one split, not {splits}")
    random = np.random.default_rng(seed)
    half = len(first) // 2
    rates, scores, matched = [], [], []
    for _ in range(splits):
        order = random.permutation(len(first))
        one, two = order[:half], order[half : 2 * half]
        # A compressed model agrees more with the dense model that it was made from: use the others.
        apart = two if len(second) == len(first) else random.permutation(len(second))[:half]
        rates.append(_rate(first[one], first[two]))
        scores.append(taxicab(first[one], first[two]).mean())
        matched.append((_rate(first[one], second[apart]), taxicab(first[one], second[apart]).mean()))
    matched_rate, matched_score = np.mean(matched, axis=0)
    return NoiseFloor(
        rate=float(np.mean(rates)),
        rate_low=float(min(rates)),
        rate_high=float(max(rates)),
        score=float(np.mean(scores)),
        matched_rate=float(matched_rate),
        matched_score=float(matched_score),
        members=half,
        splits=splits,
    )


def exemplars(
    dense: ArrayLike,
    compressed: ArrayLike,
    truth: ArrayLike,
    *,
    dense_top5: ArrayLike | None = None,
    top5: ArrayLike | None = None,
    splits: int = SPLITS,
    seed: int = 0,
) -> Exemplars:
    """Find the samples that a compressed population answers differently from the dense one.

    Exemplars do not depend on the truth, which only shows how hard they are.

    Args:
        dense: (K, N) integers, predictions of K dense models.
        compressed: (L, N) integers, predictions of their compressed versions.
        truth: (N,) integers, labels.
        dense_top5, top5: (K, N) and (L, N) bool, whether the truth is among a model's first five answers; both
            or neither.
        splits: number of random halves for the noise floor.
        seed: seed of the halves.

    Raises:
        UsageError: arrays do not fit each other, or are empty.

    Source: Hooker et al. 2019, section 2.2.
    """
    first, second = _populations(dense, compressed)
    labels = _integers("truth", truth)
    if labels.shape != first.shape[1:]:
        raise UsageError(
            f"truth must have shape ({first.shape[1]},), one label per sample, not {labels.shape}"
        )
    hits = {"dense_top1": first == labels, "top1": second == labels}
    if (dense_top5 is None) != (top5 is None):
        raise UsageError("give top-5 hits of both populations, or of neither")
    if dense_top5 is not None and top5 is not None:
        hits |= {"dense_top5": _hits(dense_top5, first), "top5": _hits(top5, second)}
    before, after = modal(first), modal(second)
    mask = before.labels != after.labels
    scores = taxicab(first, second)
    places = np.flatnonzero(mask)
    order = np.lexsort((places, -before.shares[places], -scores[places]))
    return Exemplars(
        truth=labels,
        dense=before,
        compressed=after,
        dense_members=len(first),
        members=len(second),
        mask=mask,
        scores=scores,
        ranking=places[order],
        subsets={
            name: _subset(hits, chosen)
            for name, chosen in (("all", np.ones_like(mask)), ("exemplars", mask), ("others", ~mask))
        },
        dense_right=int((mask & (before.labels == labels)).sum()),
        compressed_right=int((mask & (after.labels == labels)).sum()),
        floor=noise_floor(first, second, splits=splits, seed=seed) if len(first) > 1 else None,
        floor_reason=None if len(first) > 1 else "one dense model cannot be split in two halves",
    )


def _subset(hits: Mapping[str, Booleans], chosen: Booleans) -> Subset:
    count = int(chosen.sum())
    names = ("dense_top1", "top1", "dense_top5", "top5")
    return Subset(
        count, *(float(hits[name][:, chosen].mean()) if count and name in hits else None for name in names)
    )


def _rate(dense: Integers, other: Integers) -> float:
    return 100 * float((modal(dense).labels != modal(other).labels).mean())


def _votes(answers: Integers, population: Integers) -> Integers:
    """Count how many of the population (K, N) give each of the answers (L, N), without a histogram over classes."""
    votes = np.zeros(answers.shape, dtype=np.int64)
    for member in population:
        votes += answers == member
    return votes


def _populations(dense: ArrayLike, other: ArrayLike) -> tuple[Integers, Integers]:
    first, second = _population("dense predictions", dense), _population("compressed predictions", other)
    if first.shape[1] != second.shape[1]:
        raise UsageError(
            f"both populations must answer the same samples, not {first.shape[1]} dense and {second.shape[1]} "
            f"compressed ones"
        )
    return first, second


def _population(name: str, values: ArrayLike) -> Integers:
    found = _integers(name, values)
    if found.ndim != 2 or not found.size:
        raise UsageError(f"{name} must have shape (models, samples), at least one of each, not {found.shape}")
    return found


def _integers(name: str, values: ArrayLike) -> Integers:
    found = np.asarray(values)
    if not np.issubdtype(found.dtype, np.integer):
        raise UsageError(f"{name} must be integers, the numbers of classes, not {found.dtype}")
    return found.astype(np.int64, copy=False)


def _hits(values: ArrayLike, predictions: Integers) -> Booleans:
    found = np.asarray(values)
    if found.dtype != np.bool_ or found.shape != predictions.shape:
        raise UsageError(
            f"top-5 hits must be bool of shape {predictions.shape}, not {found.dtype} of shape {found.shape}"
        )
    return found
