"""Splits from everything they can be made of."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

from leanfront.core.targets import Split
from leanfront.core.targets import split as split_module
from leanfront.errors import TargetError, UsageError

INPUTS = torch.arange(60, dtype=torch.float32).reshape(20, 3)
LABELS = torch.arange(20) % 4


class Plain(Dataset[Any]):
    """A dataset with nothing but the protocol; counts its reads."""

    def __init__(self, inputs: Any = INPUTS, labels: Any = LABELS) -> None:
        self.inputs, self.labels, self.reads = inputs, labels, 0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return self.inputs[index], self.labels[index]


class Listed(Plain):
    """One with torchvision's `targets`."""

    def __init__(self, targets: Any, **rest: Any) -> None:
        super().__init__(**rest)
        self.targets = targets


class Stream(IterableDataset[Any]):
    """One that can only be walked."""

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        yield from zip(INPUTS, LABELS.tolist(), strict=True)


def pairs_upward(batch: list[Any]) -> tuple[Tensor, Tensor]:
    """A collation of one's own."""
    return torch.stack([x + 1 for x, _ in batch]), torch.tensor([y for _, y in batch])


SOURCES = {
    "pair": (INPUTS, LABELS),
    "numpy pair": (INPUTS.numpy(), LABELS.numpy()),
    "tensor dataset": TensorDataset(INPUTS, LABELS),
    "plain dataset": Plain(),
    "python labels": Plain(labels=LABELS.tolist()),
    "numpy samples": Plain(inputs=INPUTS.numpy(), labels=LABELS.numpy()),
    "double inputs": Plain(inputs=INPUTS.double()),
    "listed labels": Listed(LABELS.tolist()),
    "list": list(zip(INPUTS, LABELS.tolist(), strict=True)),
    "subset": Subset(Plain(torch.cat((INPUTS, INPUTS)), torch.cat((LABELS, LABELS))), range(20, 40)),
    "subset of listed": Subset(
        Listed(LABELS.flip(0), inputs=INPUTS.flip(0), labels=LABELS.flip(0)), range(19, -1, -1)
    ),
    "concatenated": ConcatDataset([Subset(Plain(), range(8)), Subset(Plain(), range(8, 20))]),
    "loader": DataLoader(Plain(), batch_size=6, shuffle=True),
    "loader of tensors": DataLoader(TensorDataset(INPUTS, LABELS), batch_size=6),
    "stream": Stream(),
    "stream loader": DataLoader(Stream(), batch_size=6),
    "own collation": DataLoader(Plain(inputs=INPUTS - 1), batch_size=6, collate_fn=pairs_upward),
    "split": Split.of("other", (INPUTS, LABELS)),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_every_source_gives_the_same_split(source: Any) -> None:
    split = Split.of("validation", source)
    assert split.name == "validation"
    assert len(split) == 20
    assert split.labels.dtype == torch.int64
    assert torch.equal(split.labels, LABELS)
    assert split.sample_shape == (3,)
    inputs, labels = split.tensors()
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, INPUTS)
    assert torch.equal(labels, LABELS)
    batches = list(split.batches(7, "cpu"))
    assert [len(y) for _, y in batches] == [7, 7, 6]
    assert torch.equal(torch.cat([x for x, _ in batches]), INPUTS)
    part = split.subset([5, 3, 3])
    assert torch.equal(part.tensors()[0], INPUTS[[5, 3, 3]])
    assert part.labels.tolist() == [1, 3, 3]
    assert torch.equal(torch.cat([x for x, _ in part.subset([2, 0]).batches(1)]), INPUTS[[3, 5]])
    again = pickle.loads(pickle.dumps(split))
    assert again.digest == split.digest
    assert torch.equal(again.tensors()[0], INPUTS)


@pytest.mark.parametrize("limit", [0, 2**31])
def test_a_split_above_the_limit_reads_on_demand(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(split_module, "CACHE_LIMIT", limit)
    dataset = Listed(LABELS)
    split = Split.of("validation", dataset)
    for _ in range(3):
        assert torch.equal(torch.cat([x for x, _ in split.batches(8)]), INPUTS)
    assert (dataset.reads >= 60) == (limit == 0)
    before = dataset.reads
    assert torch.equal(split.subset([4]).tensors()[0], INPUTS[[4]])
    assert dataset.reads - before == (1 if limit == 0 else 0) or limit == 0


def test_training_data_are_read_anew_every_time() -> None:
    dataset = Listed(LABELS)
    split = Split.of("train", dataset, cache=False)
    for _ in range(2):
        list(split.batches(8))
    dataset.inputs = INPUTS + 1
    assert torch.equal(split.tensors()[0], INPUTS + 1)
    assert torch.equal(next(iter(split.subset([2]).batches(4)))[0], INPUTS[[2]] + 1)


def test_what_is_cut_out_is_kept_in_memory_and_disjoint() -> None:
    dataset = Listed(LABELS)
    taken, left = Split.of("train", dataset, cache=False).cut("calibration", [1, 4])
    assert (taken.name, left.name) == ("calibration", "train")
    assert torch.equal(taken.tensors()[0], INPUTS[[1, 4]])
    dataset.inputs = INPUTS + 1
    assert torch.equal(taken.tensors()[0], INPUTS[[1, 4]])
    assert len(left) == 18
    assert not set(taken.places()) & set(left.places())


def test_token_ids_stay_integers() -> None:
    ids = torch.randint(0, 100, (20, 5))
    assert torch.equal(Split.of("test", (ids, LABELS)).tensors()[0], ids)


def test_a_random_subset_sampler_chooses() -> None:
    loader = DataLoader(Plain(), sampler=SubsetRandomSampler([3, 9]))
    assert sorted(Split.of("test", loader).labels.tolist()) == [1, 3]


def test_targets_of_another_meaning_are_not_believed() -> None:
    assert torch.equal(Split.of("test", Listed([7] * 20)).labels, LABELS)


def test_digest_tells_content_labels_and_order_apart() -> None:
    changed = INPUTS.clone()
    changed[13, 1] += 1e-3
    variants = [
        (INPUTS, LABELS),
        (changed, LABELS),
        (INPUTS, LABELS.flip(0)),
        (INPUTS.flip(0), LABELS),
        (INPUTS.int(), LABELS),
    ]
    digests = [Split.of("test", variant).digest for variant in variants]
    digests += [Split.of("test", Plain(*variant)).digest for variant in variants]
    assert len(set(digests[:5])) == len(set(digests[5:])) == 5
    assert Split.of("train", (INPUTS, LABELS)).digest == digests[0]


def test_digest_of_a_large_opaque_split_reads_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_module, "CACHE_LIMIT", 0)
    monkeypatch.setattr(split_module, "DIGEST_SAMPLES", 5)
    dataset = Listed(LABELS)
    split = Split.of("test", dataset)
    before = dataset.reads
    assert len(split.digest) == 64
    assert dataset.reads - before < 10


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "expected a dataset of .*not int"),
        ([], "test: is empty"),
        ((torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)), "test: is empty"),
        (DataLoader(Plain(INPUTS[:0], LABELS[:0])), "test: is empty"),
        (list(INPUTS), r"test: is unlabelled.*must be a pair \(input, label\)"),
        (Plain(labels=[None] * 20), "is unlabelled"),
        (TensorDataset(INPUTS), r"is unlabelled: found a TensorDataset of 1 tensor\(s\)"),
        ((INPUTS, LABELS.float()), r"the label of sample 0 is tensor\(0\.\); labels must be integers"),
        (Plain(labels=(LABELS + 0.5).tolist()), r"sample 0 is 0\.5; labels must be integers"),
        (Plain(labels=torch.eye(20)), "one-hot labels: take their argmax"),
        (Plain(labels=["cat"] * 20), "the label of sample 0 is 'cat'"),
        ((INPUTS, LABELS[:7]), "do not pair up"),
        ((INPUTS, LABELS[:, None]), "do not pair up"),
        (Plain(inputs=["a"] * 20), "input of sample 0 is a str, not a tensor.*ToTensor"),
        (Plain(inputs=[]), "sample 0 could not be read: IndexError"),
        ([(torch.zeros(2), 0), (torch.zeros(3), 1)], r"sample 1 has shape \(3,\), sample 0 has \(2,\)"),
    ],
)
def test_bad_sources_are_refused_by_name(source: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Split.of("test", source)


def test_a_loader_that_fails_is_named() -> None:
    def broken(_: Any) -> Any:
        raise KeyError("image")

    with pytest.raises(TargetError, match="test: the loader failed after 0 batches: KeyError"):
        Split.of("test", DataLoader(Plain(), collate_fn=broken))


@pytest.mark.parametrize("indices", [[20], [-1]])
def test_positions_outside_are_refused(indices: list[int]) -> None:
    with pytest.raises(UsageError, match="there is none at"):
        Split.of("test", (INPUTS, LABELS)).subset(indices)
    with pytest.raises(UsageError, match="batch_size"):
        next(Split.of("test", (INPUTS, LABELS)).batches(0))


def test_arrays_in_data_are_the_content() -> None:
    dataset = Listed(LABELS.tolist())
    dataset.data = np.arange(40, dtype=np.uint8).reshape(20, 2)  # type: ignore[attr-defined]
    contents = Split.of("test", dataset).contents()
    assert contents is not None
    assert len(set(contents)) == 20
    assert Split.of("test", Listed(LABELS.tolist())).contents() is None
