"""Samples of a split: a common interface to datasets, loaders and tensors."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
)

from leanfront.errors import LeanfrontError, TargetError

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@runtime_checkable
class Identified(Protocol):
    """A dataset that can compare the content of its samples without decoding it."""

    def identities(self) -> list[str]:
        """Return one string per sample; equal strings mean equal content."""
        ...


class Samples:
    """Labelled samples with random access.

    Args:
        name: name of the split, for messages.
        dataset: map-style dataset of (input, label), or None.
        inputs: (n, ...) all inputs if they are already in memory, or None.
        labels: int64 (n,).
    """

    def __init__(self, name: str, dataset: Any | None, inputs: Tensor | None, labels: Tensor) -> None:
        self.name = name
        self.dataset = dataset
        self.inputs = inputs
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict[str, Any]:
        # Inputs that the dataset can read again are not sent to other processes.
        return {**self.__dict__, "inputs": self.inputs if self.dataset is None else None}

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return inputs (len(indices), ...) in this order, with floats as float32.

        Raises:
            TargetError: a sample cannot be read, or its shape differs from the others.
        """
        if self.inputs is not None:
            return self.inputs[torch.as_tensor(indices, dtype=torch.int64)]
        inputs = read(self.name, self.dataset, indices)
        return as_float32(inputs) if isinstance(inputs, Tensor) else stack(self.name, indices, inputs)

    def contents(self, indices: Sequence[int], *, stable: bool) -> list[str] | None:
        """Return one string per sample, equal for equal content; None if this would need decoding.

        Args:
            indices: indices of the samples.
            stable: make the strings independent of earlier reads and of the location of files. Otherwise inputs that
                were already read count too, and files are identified by their path.
        """
        found = None if self.dataset is None else _contents(self.dataset, stable)
        if found is not None:
            return [found(index) for index in indices]
        if self.inputs is not None and (self.dataset is None or not stable):
            return [_hash(row.numpy()) for row in self.inputs[torch.as_tensor(indices)]]
        return None

    def places(self, indices: Sequence[int]) -> list[tuple[int, int]]:
        """Return the place of each sample: (id of the root dataset, index there)."""
        if self.dataset is None:
            return [(id(self.inputs), index) for index in indices]
        return [_place(self.dataset, index) for index in indices]

    def description(self) -> str:
        """Return the printed form of the dataset's transforms, without memory addresses."""
        dataset = self.dataset
        while isinstance(dataset, Subset):
            dataset = dataset.dataset
        transforms = (getattr(dataset, "transform", None), getattr(dataset, "transforms", None))
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(transforms))


def samples_of(name: str, source: Any, keep: Callable[[int, Tensor], bool]) -> Samples:
    """Create samples from the source of a split; see `Split.of`.

    Args:
        name: name of the split, for messages.
        source: dataset, loader or pair of tensors.
        keep: function (number of samples, first input) -> whether inputs that are read for their labels may be kept.

    Raises:
        TargetError: the source is of an unknown kind, empty or unlabelled, or a sample cannot be read.
    """
    if _is_pair(source):
        return _from_pair(name, *source)
    if isinstance(source, DataLoader):
        plain = source.collate_fn is default_collate and not isinstance(source.dataset, IterableDataset)
        if not plain:
            return _from_batches(name, source)
        sampler = source.sampler
        chosen = isinstance(sampler, SubsetRandomSampler)
        source = Subset(source.dataset, list(cast(Any, sampler).indices)) if chosen else source.dataset
    elif isinstance(source, IterableDataset):
        return _from_batches(name, DataLoader(source, batch_size=64))
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
        raise TargetError(
            f"{name}: expected a dataset of (input, label), a DataLoader or a pair of tensors (inputs, labels), "
            f"not {type(source).__name__}"
        )
    if isinstance(source, TensorDataset):
        if len(source.tensors) != 2:
            raise _unlabelled(name, f"a TensorDataset of {len(source.tensors)} tensor(s)")
        return _from_pair(name, source.tensors[0], source.tensors[1])
    return _from_dataset(name, source, keep)


def _is_pair(source: Any) -> bool:
    kinds = (Tensor, np.ndarray)
    return isinstance(source, (tuple, list)) and len(source) > 0 and isinstance(source[0], kinds)


def _from_pair(name: str, *tensors: Any) -> Samples:
    if len(tensors) != 2:
        raise _unlabelled(name, f"{len(tensors)} tensor(s)")
    inputs, labels = (torch.as_tensor(tensor).detach().cpu() for tensor in tensors)
    if inputs.ndim == 0 or labels.ndim != 1 or len(inputs) != len(labels):
        raise TargetError(
            f"{name}: inputs of shape {tuple(inputs.shape)} and labels of shape {tuple(labels.shape)} do not "
            f"pair up; labels must be one integer a sample, shape ({len(inputs) if inputs.ndim else 'n'},)"
        )
    _check_not_empty(name, len(labels))
    if labels.dtype not in INTEGERS:
        raise _bad_label(name, 0, labels[0])
    return Samples(name, None, as_float32(inputs), labels.long())


def _from_batches(name: str, loader: Iterable[Any]) -> Samples:
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    try:
        for batch in loader:
            x, y = _pair(name, len(inputs), batch)
            labels.append(torch.as_tensor(y).detach().cpu())
            inputs.append(as_float32(torch.as_tensor(x).detach().cpu()))
    except LeanfrontError:
        raise
    except Exception as error:
        raise TargetError(f"{name}: the loader failed after {len(inputs)} batches: {_say(error)}") from error
    _check_not_empty(name, len(inputs))
    shapes = {tuple(x.shape[1:]) for x in inputs}
    if len(shapes) > 1:
        raise TargetError(f"{name}: the loader's inputs differ in shape: {_listed(shapes)}; make them equal")
    return _from_pair(name, torch.cat(inputs), torch.cat(labels))


def _from_dataset(name: str, dataset: Any, keep: Callable[[int, Tensor], bool]) -> Samples:
    count = len(dataset)
    _check_not_empty(name, count)
    probes = sorted({0, count // 2, count - 1})
    samples = [_sample(name, dataset, index) for index in probes]
    listed = _listed_labels(dataset)
    # The probes reveal a transform of the labels, or a field `targets` with another meaning.
    if listed is not None and [int(listed[index]) for index in probes] == [label for _, label in samples]:
        return Samples(name, dataset, None, listed)
    if not keep(count, samples[0][0]):
        return Samples(
            name, dataset, None, torch.tensor([_sample(name, dataset, i)[1] for i in range(count)])
        )
    everything = [_sample(name, dataset, index) for index in range(count)]
    inputs = stack(name, range(count), [x for x, _ in everything])
    held = Samples(name, dataset, None, torch.tensor([label for _, label in everything]))
    held.inputs = inputs
    return held


def _listed_labels(dataset: Any) -> Tensor | None:
    """Return the labels from `targets`, as torchvision's datasets have it, without reading a sample; or None."""
    if isinstance(dataset, Subset):
        whole = _listed_labels(dataset.dataset)
        return None if whole is None else whole[torch.as_tensor(list(dataset.indices), dtype=torch.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [_listed_labels(part) for part in dataset.datasets]
        return torch.cat([part for part in parts if part is not None]) if None not in parts else None
    if isinstance(dataset, TensorDataset):
        listed: Any = dataset.tensors[-1]
    else:
        listed = getattr(dataset, "targets", None)
    if not isinstance(listed, (list, tuple, Tensor, np.ndarray)):
        return None
    try:
        labels = torch.as_tensor(listed)
    except (TypeError, ValueError, RuntimeError):
        return None
    fits = labels.ndim == 1 and labels.dtype in INTEGERS and len(labels) == len(dataset)
    return labels.cpu().long() if fits else None


def read(name: str, dataset: Any, indices: Iterable[int]) -> Tensor | Sequence[Tensor]:
    """Read the inputs of these samples, in order; one tensor (n, ...) if the dataset returns one."""
    root, inner = dataset, list(indices)
    while isinstance(root, Subset):
        inner = [int(root.indices[index]) for index in inner]
        root = root.dataset
    if isinstance(root, Bulk):
        return root.read_inputs(inner)
    return [_sample(name, dataset, index)[0] for index in indices]


@runtime_checkable
class Bulk(Protocol):
    """A dataset that can read many inputs at once."""

    def read_inputs(self, indices: Sequence[int]) -> Tensor | Sequence[Tensor]:
        """Read the inputs of these samples, in order; one tensor (n, ...) if they have the same shape."""
        ...


def stack(name: str, indices: Sequence[int], inputs: Sequence[Tensor]) -> Tensor:
    """Stack n inputs of the same shape into (n, ...)."""
    for index, x in zip(indices, inputs, strict=True):
        if x.shape != inputs[0].shape:
            raise TargetError(
                f"{name}: sample {index} has shape {tuple(x.shape)}, sample {indices[0]} has "
                f"{tuple(inputs[0].shape)}; make all inputs one shape (resize or crop)"
            )
    return as_float32(torch.stack(list(inputs)))


def as_float32(x: Tensor) -> Tensor:
    """Convert floats to float32; leave integers (token ids) unchanged."""
    return x.float() if x.is_floating_point() else x


def _sample(name: str, dataset: Any, index: int) -> tuple[Tensor, int]:
    try:
        sample = dataset[index]
    except LeanfrontError:
        raise
    except Exception as error:
        raise TargetError(f"{name}: sample {index} could not be read: {_say(error)}") from error
    x, label = _pair(name, index, sample)
    if isinstance(x, np.ndarray):
        x = torch.from_numpy(x)
    if not isinstance(x, Tensor):
        raise TargetError(
            f"{name}: the input of sample {index} is a {type(x).__name__}, not a tensor; give the dataset a "
            "transform that makes tensors (for images torchvision.transforms.ToTensor())"
        )
    number = torch.as_tensor(label) if isinstance(label, (int, np.generic, np.ndarray, Tensor)) else None
    if number is None or number.numel() != 1 or number.dtype not in INTEGERS:
        raise _bad_label(name, index, label)
    return x.detach().cpu(), int(number)


def _pair(name: str, index: int, sample: Any) -> tuple[Any, Any]:
    if isinstance(sample, (tuple, list)) and len(sample) == 2 and sample[1] is not None:
        return sample[0], sample[1]
    size = f" of {len(sample)}" if isinstance(sample, (tuple, list)) else ""
    raise _unlabelled(name, f"a {type(sample).__name__}{size} at {index}")


def _unlabelled(name: str, found: str) -> TargetError:
    return TargetError(f"{name}: is unlabelled: found {found}; every sample must be a pair (input, label)")


def _bad_label(name: str, index: int, label: Any) -> TargetError:
    return TargetError(
        f"{name}: the label of sample {index} is {label!r}; labels must be integers, the class's index in "
        "0..C-1 (one-hot labels: take their argmax)"
    )


def _check_not_empty(name: str, count: int) -> None:
    if count == 0:
        raise TargetError(f"{name}: is empty; it needs at least one labelled sample")


def _contents(dataset: Any, stable: bool) -> Callable[[int], str] | None:
    """Return a function from index to content string, or None."""
    if isinstance(dataset, Subset):
        inner, indices = _contents(dataset.dataset, stable), list(dataset.indices)
        return None if inner is None else lambda index: inner(int(indices[index]))
    if isinstance(dataset, Identified):
        strings = dataset.identities()
        return lambda index: strings[index]
    raw = dataset.tensors[0] if isinstance(dataset, TensorDataset) else getattr(dataset, "data", None)
    if isinstance(raw, Tensor):
        raw = raw.detach().cpu().numpy()
    if isinstance(raw, np.ndarray) and raw.ndim > 1 and len(raw) == len(dataset):
        array = raw
        return lambda index: _hash(array[index])
    files = getattr(dataset, "samples", None)
    if isinstance(files, list) and len(files) == len(dataset) and isinstance(files[0][0], str):
        if not stable:
            return lambda index: f"file:{os.path.abspath(files[index][0])}"
        root = str(getattr(dataset, "root", ""))
        return lambda index: _portable(files[index][0], root)
    return None


def _portable(file: str, root: str) -> str:
    """Identify a file by its size and its path within the tree, wherever the tree is."""
    size = os.path.getsize(file) if os.path.exists(file) else -1
    return f"file:{size}:{os.path.relpath(file, root) if root else file}"


def _place(dataset: Any, index: int) -> tuple[int, int]:
    if isinstance(dataset, Subset):
        return _place(dataset.dataset, int(dataset.indices[index]))
    if isinstance(dataset, ConcatDataset):
        index = index % len(dataset)
        for part in dataset.datasets:
            size = len(cast(Any, part))
            if index < size:
                return _place(part, index)
            index -= size
    return id(dataset), index


def _hash(row: Any) -> str:
    row = np.ascontiguousarray(row)
    head = f"{row.dtype}{row.shape}".encode()
    return f"array:{hashlib.blake2b(head + row.tobytes(), digest_size=16).hexdigest()}"


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _listed(shapes: Iterable[tuple[int, ...]]) -> str:
    return ", ".join(str(shape) for shape in sorted(shapes))
