"""Registry of the optimisers of a recovery, and the schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leanfront.deferred import Deferred

if TYPE_CHECKING:
    from torch.optim import Optimizer

Groups = list[dict[str, Any]]
"""Parameter groups as `torch.optim` takes them, each with its ``weight_decay``."""


@dataclass(frozen=True)
class Optimiser:
    """An optimiser of a recovery.

    Args:
        name: value of `Recovery.optimiser`.
        source: definition or reference, in one line.
        learning_rate: default of the schedule's highest learning rate.
        make: (parameter groups, learning rate) -> the optimiser. Its state must be tensors and numbers, one level
            deep per parameter, so that a checkpoint can hold it.
    """

    name: str
    source: str
    learning_rate: float
    make: Callable[[Groups, float], Optimizer]


OPTIMISERS: dict[str, Optimiser] = {
    each.name: each
    for each in (
        Optimiser(
            "adamw",
            "Loshchilov and Hutter, ICLR 2019",
            3e-3,
            Deferred("leanfront.core.compressors.training.descent:adamw"),
        ),
        Optimiser(
            "sgd", "Nesterov momentum 0.9", 2e-2, Deferred("leanfront.core.compressors.training.descent:sgd")
        ),
    )
}
"""Optimisers by name. To add one, write a function and an entry here."""


def schedule(step: int, steps: int, warmup: float) -> float:
    """Return the share of the highest learning rate at a step: a linear rise, then half a cosine down to zero.

    Args:
        step: number of the step, from 0.
        steps: number of steps of the whole training.
        warmup: share of the steps that the rise takes.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
