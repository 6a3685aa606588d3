"""How far a recovery is, and what its epochs gave."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a recovery stands after a step.

    Args:
        epoch: that is running, from 1.
        epochs: there are.
        step: steps done, from 1.
        steps: there are.
        loss: of the last step.
        accuracy: the best so far, on validation.
        seconds: since it began, earlier runs of a resumed one included.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    Args:
        number: from 1.
        steps: done when it was measured.
        loss: mean over its steps.
        accuracy: on validation, of the better of weights and average.
        averaged: whether that was the average.
        learning_rate: of its last step.
        seconds: it took, its measurement included.
    """

    number: int
    steps: int
    loss: float
    accuracy: float
    averaged: bool
    learning_rate: float
    seconds: float
