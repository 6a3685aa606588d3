"""A loader's sampler chooses the samples of a split."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from leanfront.core.targets import Split
from leanfront.errors import TargetError

COUNT = 30
DATA = TensorDataset(torch.arange(float(COUNT))[:, None], torch.arange(COUNT) % 3)
CHOSEN = list(range(12, 20))


class Chosen(Sampler[int]):
    """Any order, by a function."""

    def __init__(self, order: Callable[[], Any]) -> None:
        self.order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self.order())


class Half(RandomSampler):
    """A random sampler by its class, that gives some samples only."""

    def __iter__(self) -> Iterator[int]:
        return iter([index for index in super().__iter__() if index in CHOSEN])


class Batches(Sampler[list[int]]):
    def __init__(self, order: Callable[[], Sequence[int]]) -> None:
        self.order = order

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.order())
        return iter([order[:3], order[3:]])


def held(source: Any) -> list[int]:
    return [int(value) for value in Split.of("validation", source).tensors()[0].flatten()]


def shuffled() -> list[int]:
    return torch.as_tensor(CHOSEN)[torch.randperm(len(CHOSEN))].tolist()


CHOICES: dict[str, Callable[[], dict[str, Any]]] = {
    "own": lambda: {"sampler": Chosen(lambda: CHOSEN)},
    "list": lambda: {"sampler": CHOSEN},
    "range": lambda: {"sampler": range(12, 20)},
    "tensors": lambda: {"sampler": Chosen(lambda: torch.tensor(CHOSEN))},
    "from the end": lambda: {"sampler": [index - COUNT for index in CHOSEN]},
    "subset": lambda: {"sampler": SubsetRandomSampler(CHOSEN)},
    "shuffling": lambda: {"sampler": Chosen(shuffled)},
    "of a class that means all": lambda: {"sampler": Half(DATA)},
    "weights": lambda: {"sampler": WeightedRandomSampler([float(i in CHOSEN) for i in range(COUNT)], 99)},
    "batches": lambda: {"batch_sampler": Batches(lambda: CHOSEN)},
    "lists of batches": lambda: {"batch_sampler": [CHOSEN[:2], CHOSEN[2:]]},
    "batches that shuffle": lambda: {"batch_sampler": Batches(shuffled)},
    "batches of a sampler": lambda: {"batch_sampler": BatchSampler(SubsetRandomSampler(CHOSEN), 3, False)},
}


@pytest.mark.parametrize(
    "collate", [default_collate, lambda rows: default_collate(rows)], ids=["plain", "own"]
)
@pytest.mark.parametrize("choice", CHOICES)
def test_the_sampler_gives_the_samples(choice: str, collate: Callable[[Any], Any]) -> None:
    before = torch.random.get_rng_state()
    found = held(DataLoader(DATA, collate_fn=collate, **CHOICES[choice]()))
    assert sorted(found) == CHOSEN
    assert collate is not default_collate or torch.equal(before, torch.random.get_rng_state())


WHOLE: dict[str, Callable[[], Any]] = {
    "sequential": lambda: SequentialSampler(DATA),
    "random": lambda: RandomSampler(DATA),
    "some at random": lambda: RandomSampler(DATA, num_samples=5),
    "weighted": lambda: WeightedRandomSampler(torch.rand(COUNT) + 0.1, 7),
    "distributed": lambda: DistributedSampler(DATA, num_replicas=4, rank=1),
    "own": lambda: Chosen(lambda: torch.randperm(COUNT)),
}


@pytest.mark.parametrize(
    "collate", [default_collate, lambda rows: default_collate(rows)], ids=["plain", "own"]
)
@pytest.mark.parametrize("kind", WHOLE)
def test_samplers_of_everything_mean_all_in_order(kind: str, collate: Callable[[Any], Any]) -> None:
    assert held(DataLoader(DATA, 8, sampler=WHOLE[kind](), collate_fn=collate)) == list(range(COUNT))


def test_repeated_samples_stay_repeated() -> None:
    assert held(DataLoader(DATA, 2, sampler=[3, 3, 7])) == [3, 3, 7]


def grows() -> Callable[[], list[int]]:
    counter = itertools.count(1)
    return lambda: list(range(next(counter)))


def raises() -> list[int]:
    raise OSError("the list is gone")


WRONG: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "random choice": (
        lambda: {"sampler": Chosen(lambda: torch.randperm(COUNT)[:9])},
        "the sampler Chosen gives other samples in its second pass",
    ),
    "another number": (lambda: {"sampler": Chosen(grows())}, r"Chosen gives other samples .*\(1, then 2\)"),
    "read once": (lambda: {"sampler": iter(CHOSEN)}, r"list_iterator gives other samples .*\(8, then 0\)"),
    "batches": (
        lambda: {"batch_sampler": Batches(lambda: torch.randperm(COUNT)[:9].tolist())},
        "the sampler Batches gives other samples",
    ),
    "endless": (lambda: {"sampler": Chosen(itertools.count)}, "the sampler Chosen does not end"),
    "raises": (lambda: {"sampler": Chosen(raises)}, "Chosen cannot be read: OSError: the list is gone"),
    "no index": (lambda: {"sampler": Chosen(lambda: [(1, 2)])}, "Chosen cannot be read: TypeError"),
    "outside": (lambda: {"sampler": [3, COUNT]}, r"list gives the index 30, .* 30 samples \(0 to 29\)"),
    "empty": (lambda: {"sampler": Chosen(list)}, "is empty"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_sampler_that_cannot_be_known_is_refused_by_name(kind: str) -> None:
    made, said = WRONG[kind]
    with pytest.raises(TargetError, match=f"^validation: .*{said}"):
        held(DataLoader(DATA, **made()))


def test_two_loaders_of_one_dataset_are_disjoint() -> None:
    from leanfront.core.targets import Target

    def part(first: int, last: int) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(DATA, 4, sampler=list(range(first, last)))

    model = torch.nn.Linear(1, 3)
    target = Target(
        model=model,
        example_input=torch.zeros(1, 1),
        train=part(0, 20),
        calibration=part(20, 25),
        validation=part(25, 30),
    )
    assert [len(split) for split in target.splits.values()] == [5, 5, 20]
