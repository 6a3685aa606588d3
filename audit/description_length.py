"""Two-part description lengths: bits of the model plus bits of the training labels given the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leanfront.core.audit.artifacts import Stored
from leanfront.core.audit.auditor import Auditor
from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.documents import plain
from leanfront.core.targets import Split
from leanfront.errors import EvaluationError

SAMPLES = 2000
"""Number of training samples whose labels are coded; the others are taken to cost the same."""


@dataclass(frozen=True)
class Described:
    """Description length of a model and of the training labels given the model, in bits.

    Args:
        name: name of the version.
        model_bits: L(model), entropy-coded, with everything needed to read it.
        data_bits: L(labels | model), sum of -log2 p(y | x) over the training samples.
        baseline_bits: N log2 C, the bits of the labels without a model.
    """

    name: str
    model_bits: float
    data_bits: float
    baseline_bits: float

    @property
    def total_bits(self) -> float:
        """L, the sum of both parts."""
        return self.model_bits + self.data_bits

    @property
    def ratio(self) -> float:
        """L over the baseline; below 1 the model saves more bits of labels than it costs."""
        return self.total_bits / self.baseline_bits

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {**plain(self), "total_bits": self.total_bits, "ratio": self.ratio}


def label_bits(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute -log2 p(y | x) of each sample, (n,) float64.

    Args:
        logits: (n, C).
        labels: (n,) in 0..C-1.

    Raises:
        EvaluationError: a logit is NaN or infinite.
    """
    if not bool(torch.isfinite(logits).all()):
        raise EvaluationError("the model's outputs are NaN or infinite: they describe no labels")
    return -logits.double().log_softmax(1).gather(1, labels[:, None]).squeeze(1) / math.log(2)


def described(name: str, model_bits: float, logits: Tensor, labels: Tensor, total: int) -> Described:
    """Compute the two parts of a description.

    Args:
        name: name of the version.
        model_bits: L(model).
        logits: (n, C) on some of the training samples.
        labels: (n,) labels of these samples.
        total: N, the number of all training samples, to which the cost of the n is scaled.
    """
    bits = label_bits(logits, labels)
    return Described(name, model_bits, float(bits.mean()) * total, total * math.log2(max(2, logits.shape[1])))


def describe(auditor: Auditor, stored: Stored, samples: TrainingSamples) -> tuple[Described, float]:
    """Return the description of a stored version, and its top-1 accuracy on the same samples."""
    chosen = samples.chosen
    logits = auditor.on(stored, lambda: chosen, "description", chosen.digest)
    top1 = float(correct(logits, chosen.labels).double().mean())
    found = described(stored.name, stored.entropy.described_bits, logits, chosen.labels, samples.total)
    return found, top1


def shortest(found: Mapping[int, Described]) -> int | None:
    """Return the width with the shortest description, the first of equal ones; None if there is none."""
    return min(found, key=lambda width: found[width].total_bits) if found else None


@dataclass(frozen=True)
class Turn:
    """The number of training samples from which a width gives the shortest description.

    Args:
        bits: the width.
        samples: N, the number of samples.
    """

    bits: int
    samples: float


def turns(found: Mapping[int, Described], total: int) -> list[Turn]:
    """Find the width with the shortest description for every number of samples: L(N) is a line for each width.

    Args:
        found: descriptions by width.
        total: number of samples behind their `data_bits`.

    Returns:
        The widths, ascending in N; the first is the best one without any sample.
    """
    left = {width: (each.model_bits, each.data_bits / total) for width, each in found.items()}
    reached: list[Turn] = []
    start = 0.0
    while left:
        best = min(left, key=lambda width: (left[width][0] + start * left[width][1], left[width][1]))
        reached.append(Turn(best, start))
        model, slope = left.pop(best)
        # With more samples, only a width with fewer bits per sample can become shorter.
        left = {width: line for width, line in left.items() if line[1] < slope}
        start = min(((line[0] - model) / (slope - line[1]) for line in left.values()), default=start)
    return reached


@dataclass(frozen=True)
class TrainingSamples:
    """The training samples whose labels are described.

    Args:
        split: ``train``, or ``calibration`` if there is no train split.
        chosen: the samples whose labels are coded.
        total: N, the number of samples in the split.
    """

    split: str
    chosen: Split
    total: int

    @property
    def text(self) -> str:
        """Description for readers."""
        few = len(self.chosen) < self.total
        scaled = f", scaled from {len(self.chosen)} of them" if few else ""
        stand_in = "" if self.split == "train" else "; there is no train split"
        return f"labels of the {self.total} {self.split} samples{scaled}{stand_in}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "split": self.split,
            "samples": len(self.chosen),
            "of": self.total,
            "text": self.text,
        }


def training_samples(auditor: Auditor, most: int = SAMPLES) -> TrainingSamples:
    """Draw some of the samples that the model was trained on, at random."""
    target = auditor.target
    split = target.calibration if target.train is None else target.train
    generator = torch.Generator().manual_seed(auditor.options.seed)
    positions = torch.randperm(len(split), generator=generator)[:most].sort().values
    return TrainingSamples(split.name, split.subset(positions), len(split))
