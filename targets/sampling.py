"""Seeded, class-balanced sampling."""

from __future__ import annotations

import torch
from torch import Tensor


def balanced(labels: Tensor, count: int, *, seed: int, share: float = 0.5) -> Tensor:
    """Choose samples with as equal class counts as the data allow.

    Classes take turns until `count` samples are chosen; within a class the order is random. At most `share` of a
    class is taken, so that cutting a split never empties a rare class; therefore fewer than `count` samples may be
    returned.

    Args:
        labels: int64 (n,).
        count: number of samples wanted.
        seed: seed of a private generator; the global random state is not changed.
        share: largest share of a class that may be taken, in (0, 1].

    Returns:
        Ascending int64 indices (<= count,).
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    shuffled_labels = labels[shuffled]
    turns = torch.zeros(len(labels), dtype=torch.int64)
    allowed = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        places = (shuffled_labels == label).nonzero().flatten()
        turns[places] = torch.arange(len(places))
        allowed[places[: int(share * len(places))]] = True
    candidates = allowed.nonzero().flatten()
    # A stable sort by turn keeps the random order among the classes of one turn.
    order = turns[candidates].argsort(stable=True)[:count]
    return shuffled[candidates[order]].sort().values


def stratified(labels: Tensor, sizes: tuple[int, ...], *, seed: int) -> tuple[Tensor, ...]:
    """Partition samples at random into parts with the same proportions of classes.

    Args:
        labels: int64 (n,).
        sizes: sizes of the parts; they must sum to n.
        seed: seed of a private generator.

    Returns:
        One ascending int64 index tensor per part; the parts are disjoint and cover all n samples.
    """
    if sum(sizes) != len(labels):
        raise ValueError(f"sizes {sizes} sum to {sum(sizes)}, but there are {len(labels)} samples")
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    position = torch.zeros(len(labels), dtype=torch.float64)
    for label in labels.unique().tolist():
        places = (labels[shuffled] == label).nonzero().flatten()
        # Each class is spread evenly over [0, 1), so any interval holds its share of every class.
        position[places] = (torch.arange(len(places), dtype=torch.float64) + 0.5) / len(places)
    order = shuffled[position.argsort(stable=True)]
    # Neighbours in `order` alternate between the classes, so contiguous runs are stratified.
    return tuple(part.sort().values for part in order.split(list(sizes)))
