"""The optimisers behind `optimisers.OPTIMISERS`."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from leanfront.core.compressors.training.optimisers import Groups


def adamw(groups: Groups, learning_rate: float) -> Optimizer:
    """Adam with decoupled weight decay."""
    return torch.optim.AdamW(groups, lr=learning_rate)


def sgd(groups: Groups, learning_rate: float) -> Optimizer:
    """Stochastic gradient descent with Nesterov momentum 0.9."""
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)
