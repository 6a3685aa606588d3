"""What moves the weights of a recovery, and how fast."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

Groups = list[dict[str, Any]]
"""Parameter groups as `torch.optim` takes them, each with its ``weight_decay``."""


@dataclass(frozen=True)
class Optimiser:
    """A way to descend.

    Args:
        name: as `Recovery.optimiser` says it.
        source: definition, for people.
        learning_rate: the highest of the schedule unless the settings say another.
        make: (parameter groups, learning rate) -> the optimiser. Its state must be tensors and numbers, one level
            deep a parameter, so that a checkpoint can hold it.
    """

    name: str
    source: str
    learning_rate: float
    make: Callable[[Groups, float], Optimizer]


def adamw(groups: Groups, learning_rate: float) -> Optimizer:
    """Adam with decoupled weight decay."""
    return torch.optim.AdamW(groups, lr=learning_rate)


def sgd(groups: Groups, learning_rate: float) -> Optimizer:
    """Stochastic gradient descent with Nesterov momentum 0.9."""
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)


OPTIMISERS: dict[str, Optimiser] = {
    each.name: each
    for each in (
        Optimiser("adamw", "Loshchilov and Hutter, ICLR 2019", 3e-3, adamw),
        Optimiser("sgd", "Nesterov momentum 0.9", 2e-2, sgd),
    )
}
"""Optimisers by name."""


def schedule(step: int, steps: int, warmup: float) -> float:
    """Share of the highest learning rate at a step: a linear rise, then half a cosine down towards zero.

    Args:
        step: from 0.
        steps: of the whole training.
        warmup: share of them that the rise takes.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
