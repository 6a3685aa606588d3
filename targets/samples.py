"""Samples of a split: a common interface to datasets, loaders and tensors."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
    default_convert,
)

from leanfront.core.targets.class_numbers import Numbering, numbering_of
from leanfront.core.targets.sample_pairs import INTEGERS, UNNAMED, Keys, batch_pair, sample_pair, unlabelled
from leanfront.core.targets.sampler_order import chosen_samples
from leanfront.errors import LeanfrontError, TargetError

SIZES = "make all inputs one shape (for images torchvision.transforms.Resize and CenterCrop)"
"""What to do about inputs of several shapes."""


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
        keys: places of input and label in the dataset's samples.

    Attributes:
        numbering: numbers of the classes as the source declares them, or None.
    """

    def __init__(
        self, name: str, dataset: Any | None, inputs: Tensor | None, labels: Tensor, keys: Keys = UNNAMED
    ) -> None:
        self.name = name
        self.dataset = dataset
        self.inputs = inputs
        self.labels = labels
        self.keys = keys
        self.numbering: Numbering | None = None
        self._shape: tuple[int, ...] | None = None  # of the first inputs that were read

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict[str, Any]:
        # Inputs that the dataset can read again are not sent to other processes.
        return {**self.__dict__, "inputs": self.inputs if self.dataset is None else None}

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return inputs (len(indices), ...) in this order, with floats as float32.

        Raises:
            TargetError: a sample cannot be read, is NaN or infinite, or its shape differs from the others.
        """
        if self.inputs is not None:
            return self.inputs[torch.as_tensor(indices, dtype=torch.int64)]
        found = read(self.name, self.dataset, indices, self.keys)
        inputs = as_float32(found) if isinstance(found, Tensor) else stack(self.name, indices, found)
        require_finite(self.name, indices, inputs)
        self._shape = self._shape or tuple(inputs.shape[1:])
        if tuple(inputs.shape[1:]) != self._shape:
            raise TargetError(
                f"{self.name}: sample {indices[0]} has shape {tuple(inputs.shape[1:])}, others have {self._shape}; "
                f"{SIZES}"
            )
        return inputs

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


def samples_of(name: str, source: Any, keep: Callable[[int, Tensor], bool], keys: Keys = UNNAMED) -> Samples:
    """Create samples from the source of a split; see `Split.of`.

    Args:
        name: name of the split, for messages.
        source: dataset, loader, pair of tensors or mapping of tensors.
        keep: function (number of samples, first input) -> whether inputs that are read for their labels may be kept.
        keys: places of input and label in a sample.

    Raises:
        TargetError: the source is of an unknown kind, empty or unlabelled, a sample cannot be read, or the samples of
            a loader cannot be known.
    """
    samples = _samples_of(name, source, keep, keys)
    samples.numbering = numbering_of(name, source, samples.labels)
    return samples


def _samples_of(name: str, source: Any, keep: Callable[[int, Tensor], bool], keys: Keys) -> Samples:
    if _is_pair(source):
        return _from_pair(name, *source)
    if isinstance(source, Mapping):
        return _from_pair(name, *batch_pair(name, "the source", source, keys))
    if isinstance(source, IterableDataset):
        return _from_batches(name, DataLoader(source, batch_size=64), keys)
    if isinstance(source, DataLoader):
        if isinstance(source.dataset, IterableDataset):
            return _from_batches(name, source, keys)
        if not hasattr(source.dataset, "__len__"):
            raise _unknown_kind(name, source.dataset)
        _check_not_empty(name, len(source.dataset))
        choice = chosen_samples(name, source)
        chosen = source.dataset if choice.indices is None else Subset(source.dataset, choice.indices)
        if source.collate_fn is not default_collate:
            # A seeded loader gives the same order in every process; others are collated in the dataset's order.
            again = choice.shuffled and source.generator is None and source.collate_fn is not default_convert
            return _from_batches(name, _in_order(source, chosen) if again else source, keys)
        source = chosen
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
        raise _unknown_kind(name, source)
    if isinstance(source, TensorDataset) and (len(source.tensors) == 2 or keys == UNNAMED):
        if len(source.tensors) != 2:
            raise unlabelled(name, f"a TensorDataset of {len(source.tensors)} tensor(s)")
        return _from_pair(name, source.tensors[0], source.tensors[1])
    return _from_dataset(name, source, keep, keys)


def _unknown_kind(name: str, source: Any) -> TargetError:
    return TargetError(
        f"{name}: expected a dataset of (input, label), a DataLoader or a pair of tensors (inputs, labels), "
        f"not {type(source).__name__}"
    )


def _in_order(loader: DataLoader[Any], chosen: Any) -> DataLoader[Any]:
    """Return a loader that collates the same samples without shuffling, so that every process reads the same."""
    return DataLoader(chosen, batch_size=loader.batch_size or 64, collate_fn=loader.collate_fn)


def _is_pair(source: Any) -> bool:
    kinds = (Tensor, np.ndarray)
    return isinstance(source, (tuple, list)) and len(source) > 0 and isinstance(source[0], kinds)


def _from_pair(name: str, *tensors: Any) -> Samples:
    if len(tensors) != 2:
        raise unlabelled(name, f"{len(tensors)} tensor(s)")
    inputs, labels = (torch.as_tensor(tensor).detach().cpu() for tensor in tensors)
    if inputs.ndim == 0 or labels.ndim != 1 or len(inputs) != len(labels):
        raise TargetError(
            f"{name}: inputs of shape {tuple(inputs.shape)} and labels of shape {tuple(labels.shape)} do not "
            f"pair up; labels must be one integer a sample, shape ({len(inputs) if inputs.ndim else 'n'},)"
        )
    _check_not_empty(name, len(labels))
    if labels.dtype not in INTEGERS:
        raise _bad_label(name, 0, labels[0])
    inputs = as_float32(inputs)
    require_finite(name, range(len(inputs)), inputs)
    return Samples(name, None, inputs, labels.long())


def _from_batches(name: str, loader: Iterable[Any], keys: Keys) -> Samples:
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    try:
        for batch in loader:
            x, y = batch_pair(name, f"batch {len(inputs)}", batch, keys)
            labels.append(torch.as_tensor(y).detach().cpu())
            inputs.append(as_float32(torch.as_tensor(x).detach().cpu()))
    except LeanfrontError:
        raise
    except Exception as error:
        raise TargetError(f"{name}: the loader failed after {len(inputs)} batches: {_say(error)}") from error
    _check_not_empty(name, len(inputs))
    shapes = {tuple(x.shape[1:]) for x in inputs}
    if len(shapes) > 1:
        raise TargetError(f"{name}: the loader's inputs differ in shape: {_listed(shapes)}; {SIZES}")
    return _from_pair(name, torch.cat(inputs), torch.cat(labels))


def _from_dataset(name: str, dataset: Any, keep: Callable[[int, Tensor], bool], keys: Keys) -> Samples:
    count = len(dataset)
    _check_not_empty(name, count)
    probes = sorted({0, count // 2, count - 1})
    samples = [_sample(name, dataset, index, keys) for index in probes]
    stack(name, probes, [x for x, _ in samples])
    listed = _listed_labels(dataset)
    # The probes reveal a transform of the labels, or a field `targets` with another meaning.
    if listed is not None and [int(listed[index]) for index in probes] == [label for _, label in samples]:
        return Samples(name, dataset, None, listed, keys)
    if not keep(count, samples[0][0]):
        found = [_sample(name, dataset, index, keys)[1] for index in range(count)]
        return Samples(name, dataset, None, torch.tensor(found), keys)
    everything = [_sample(name, dataset, index, keys) for index in range(count)]
    inputs = stack(name, range(count), [x for x, _ in everything])
    require_finite(name, range(count), inputs)
    held = Samples(name, dataset, None, torch.tensor([label for _, label in everything]), keys)
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


def read(name: str, dataset: Any, indices: Iterable[int], keys: Keys = UNNAMED) -> Tensor | Sequence[Tensor]:
    """Read the inputs of these samples, in order; one tensor (n, ...) if the dataset returns one."""
    root, inner = dataset, list(indices)
    while isinstance(root, Subset):
        inner = [int(root.indices[index]) for index in inner]
        root = root.dataset
    if isinstance(root, Bulk):
        return root.read_inputs(inner)
    return [_sample(name, dataset, index, keys)[0] for index in indices]


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
                f"{tuple(inputs[0].shape)}; {SIZES}"
            )
    return as_float32(torch.stack(list(inputs)))


def as_float32(x: Tensor) -> Tensor:
    """Convert floats to float32; leave integers (token ids) unchanged."""
    return x.float() if x.is_floating_point() else x


def require_finite(name: str, indices: Sequence[int], inputs: Tensor) -> None:
    """Refuse inputs (n, ...) that are NaN or infinite, naming the first such sample.

    Raises:
        TargetError: an input is not finite.
    """
    # The sum is not finite if an element is not, and takes no memory.
    if not inputs.is_floating_point() or bool(torch.isfinite(inputs.sum())):
        return
    wrong = (~torch.isfinite(inputs)).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if not wrong:
        return
    first = inputs[wrong[0]].flatten()
    kind = "NaN" if bool(torch.isnan(first).any()) else "infinity"
    more = (
        f", and {len(wrong) - 1:,} more of {len(indices):,} that were read are not finite"
        if len(wrong) > 1
        else ""
    )
    raise TargetError(
        f"{name}: the input of sample {indices[wrong[0]]} has {kind}{more}; remove or mend it (missing values, a "
        "division by 0 in a normalisation)"
    )


def _sample(name: str, dataset: Any, index: int, keys: Keys) -> tuple[Tensor, int]:
    try:
        sample = dataset[index]
    except LeanfrontError:
        raise
    except Exception as error:
        file = _file(dataset, index)
        where = f" ({file})" if file else ""
        raise TargetError(f"{name}: sample {index}{where} could not be read: {_say(error)}") from error
    x, label = sample_pair(name, f"sample {index}", sample, keys)
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


def _bad_label(name: str, index: int, label: Any) -> TargetError:
    return TargetError(
        f"{name}: the label of sample {index} is {label!r}; labels must be integers, the class's index in "
        "0..C-1 (one-hot labels: take their argmax)"
    )


def _check_not_empty(name: str, count: int) -> None:
    if count == 0:
        raise TargetError(f"{name}: is empty; it needs at least one labelled sample")


def _file(dataset: Any, index: int) -> str | None:
    """Return the file of a sample, if a dataset such as ImageFolder lists its files."""
    while isinstance(dataset, Subset):
        index, dataset = int(dataset.indices[index]), dataset.dataset
    files: Any = getattr(dataset, "samples", None)
    known = isinstance(files, list) and index < len(files) and isinstance(files[index], tuple | list)
    return str(files[index][0]) if known and isinstance(files[index][0], str) else None


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
