"""Progress of a recovery, and results of its epochs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Progress of a recovery after a step.

    Args:
        epoch: current epoch, from 1.
        epochs: number of epochs.
        step: number of steps done, from 1.
        steps: number of steps of the whole training.
        loss: loss of the last step.
        accuracy: best validation accuracy so far.
        seconds: seconds since the beginning, earlier runs of a resumed training included.
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
    """Results of one epoch.

    Args:
        number: number of the epoch, from 1.
        steps: number of steps done when it was measured.
        loss: mean loss of its steps.
        accuracy: validation accuracy of the weights or of their moving average, whichever is better.
        averaged: whether the average was better.
        learning_rate: learning rate of its last step.
        seconds: duration in seconds, measurement included.
    """

    number: int
    steps: int
    loss: float
    accuracy: float
    averaged: bool
    learning_rate: float
    seconds: float
