"""The samples that a DataLoader gives: indices of its dataset, as its sampler chooses them."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from leanfront.errors import TargetError

PASSES = 8
"""Largest number of times that one pass of a sampler may give the whole dataset before it counts as endless."""

_WHOLE: dict[Any, Callable[[Any], Iterable[int]]] = {
    SequentialSampler.__iter__: lambda sampler: range(len(sampler.data_source)),
    RandomSampler.__iter__: lambda sampler: range(len(sampler.data_source)),
    DistributedSampler.__iter__: lambda sampler: range(len(sampler.dataset)),
    WeightedRandomSampler.__iter__: lambda sampler: (
        torch.as_tensor(sampler.weights).nonzero().flatten().tolist()
    ),
    SubsetRandomSampler.__iter__: lambda sampler: list(sampler.indices),
}
"""Order of PyTorch's own samplers -> the samples that they can give, in the dataset's order. A subclass that gives
another order has an ``__iter__`` of its own."""


@dataclass(frozen=True)
class Choice:
    """Samples that a loader gives.

    Args:
        indices: indices of the loader's dataset, or None for the whole dataset in order.
        shuffled: whether the loader gives them in another order in every pass.
    """

    indices: list[int] | None
    shuffled: bool


def chosen_samples(name: str, loader: DataLoader[Any]) -> Choice:
    """Return the samples that a loader of a map-style dataset gives.

    The indices of an unknown sampler are read in two passes. They are in the sampler's order if both passes agree,
    and sorted if only the order differs.

    Args:
        name: name of the split, for messages.
        loader: loader with a sampler or a batch sampler.

    Raises:
        TargetError: the sampler cannot be read, does not end, gives an index that the dataset does not have, or gives
            other samples in the second pass; the message names it.
    """
    count = len(loader.dataset)  # type: ignore[arg-type]
    source, batches = _source(loader)
    kind = None if batches else getattr(type(source), "__iter__", None)
    if kind in _WHOLE:
        first = _indices(name, source, _WHOLE[kind](source), count)
        shuffled = kind is not SequentialSampler.__iter__
    else:
        with torch.random.fork_rng(devices=[]):  # a shuffling sampler would disturb the caller's generator
            first, second = (_indices(name, source, _flat(source, batches), count) for _ in range(2))
        if sorted(first) != sorted(second):
            raise TargetError(
                f"{name}: the sampler {_named(source)} gives other samples in its second pass ({len(first):,}, then "
                f"{len(second):,}); a split is the same samples every time: give a list of indices, or "
                "torch.utils.data.Subset(dataset, indices)"
            )
        shuffled = first != second
        first = sorted(first) if shuffled else first
    return Choice(None if first == list(range(count)) else first, shuffled)


def _source(loader: DataLoader[Any]) -> tuple[Any, bool]:
    """Return what decides on the samples, and whether it gives batches of indices."""
    batch_sampler = loader.batch_sampler
    if batch_sampler is None:
        return loader.sampler, False
    if getattr(type(batch_sampler), "__iter__", None) is BatchSampler.__iter__:
        return batch_sampler.sampler, False  # type: ignore[attr-defined]
    return batch_sampler, True


def _flat(source: Any, batches: bool) -> Iterable[Any]:
    return itertools.chain.from_iterable(source) if batches else source


def _indices(name: str, source: Any, given: Iterable[Any], count: int) -> list[int]:
    most = PASSES * count + 1024
    found = []
    try:
        for index in itertools.islice(given, most + 1):
            found.append(operator.index(index))
    except Exception as error:
        raise TargetError(
            f"{name}: the sampler {_named(source)} cannot be read: {type(error).__name__}: {error}; give a list of "
            "indices, or torch.utils.data.Subset(dataset, indices)"
        ) from error
    if len(found) > most:
        raise TargetError(
            f"{name}: the sampler {_named(source)} does not end: it gave more than {most:,} indices of {count:,} "
            "samples; give a list of indices, or torch.utils.data.Subset(dataset, indices)"
        )
    outside = next((index for index in found if not -count <= index < count), None)
    if outside is not None:
        raise TargetError(
            f"{name}: the sampler {_named(source)} gives the index {outside}, but the dataset has {count:,} samples "
            f"(0 to {count - 1})"
        )
    return [index % count for index in found]


def _named(source: Any) -> str:
    return type(source).__name__
