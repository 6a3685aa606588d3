"""Metrics computed from logits and labels alone."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.metrics import CONFIDENCE, TOP_K, Estimate, wilson


def accuracy(logits: Tensor, labels: Tensor) -> Estimate:
    """Return the share of samples whose largest logit is the label's, with its Wilson interval."""
    return _share(logits, labels, 1)


def top5_accuracy(logits: Tensor, labels: Tensor) -> Estimate:
    """Return the share of samples with the label among the `TOP_K` largest logits, with its Wilson interval."""
    return _share(logits, labels, TOP_K)


def cross_entropy(logits: Tensor, labels: Tensor) -> Estimate:
    """Return the mean of -ln softmax(logits)[label] in nats, with a normal interval from the sample variance."""
    # Candidates may differ only in the last digits of this mean, which float32 sums lose.
    losses = torch.nn.functional.cross_entropy(logits.double(), labels.long(), reduction="none")
    value, n = float(losses.mean()), int(losses.shape[0])
    if n < 2:
        return value, None, None
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * float(losses.std(correction=1)) / math.sqrt(n)
    return value, value - half, value + half


def _share(logits: Tensor, labels: Tensor, k: int) -> Estimate:
    hits, n = int(correct(logits, labels.long(), k).sum()), int(labels.shape[0])
    return (hits / n, *wilson(hits, n))
