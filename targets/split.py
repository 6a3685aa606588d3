"""Data splits: calibration, validation, test and train."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from leanfront.core.targets.class_numbers import Numbering
from leanfront.core.targets.sample_pairs import UNNAMED, Keys
from leanfront.core.targets.samples import SIZES, Samples, samples_of
from leanfront.errors import TargetError, UsageError

CACHE_LIMIT = 2 * 1024**3
"""Largest number of bytes of inputs that a split keeps in memory; larger splits are read batch by batch."""
DIGEST_SAMPLES = 256
"""Number of inputs in the digest of a split that is too large for memory and has no raw content to hash."""


class Split:
    """Labelled samples for one purpose. Create one with `Split.of`.

    Inputs stay in memory once read, up to `CACHE_LIMIT` bytes; parts made by `subset` share this memory. Floating
    inputs are converted to float32, integer inputs (token ids) are not converted. Splits can be pickled; data that
    can be read again is not included.
    """

    def __init__(
        self, name: str, samples: Samples, indices: Tensor, *, cache: bool, keeps: bool = True
    ) -> None:
        self.name = name
        self._samples = samples
        self._indices = indices  # int64 (N,), into samples
        self._may_cache = cache
        self._keeps = (
            keeps  # a temporary part, as in a race, uses the memory of its whole and keeps none of its own
        )
        self._whole: Split | None = None  # split whose memory this one reads, at `_positions`
        self._positions = indices
        self._inputs: Tensor | None = None
        self._input_bytes: int | None = None
        self._digest: str | None = None
        self._labels = samples.labels[indices]

    @classmethod
    def of(cls, name: str, source: Any, *, cache: bool = True, keys: Keys = UNNAMED) -> Split:
        """Create a split from labelled samples.

        A sample is a pair (input, label), a mapping of one tensor and one integer, or anything that `keys` can index.

        Args:
            name: ``calibration``, ``validation``, ``test`` or ``train``; used in messages.
            source: one of the following: a map-style dataset of samples; a DataLoader, whose dataset is used if it is
                map-style with the default collation, and which is otherwise read once; an iterable dataset, which is
                read once; a pair (inputs (N, ...), labels (N,)), or a mapping of the two; another split, which is
                renamed. A DataLoader's sampler or batch sampler chooses the samples; of PyTorch's sequential, random,
                weighted and distributed samplers all samples are used that they can draw.
            cache: whether inputs may be kept in memory; use False for training data that is augmented on reading.
            keys: places of input and label in a sample.

        Raises:
            TargetError: the source is none of these, empty or unlabelled, a label is not an integer, a sample cannot
                be read or has NaN, or a sampler cannot be read or gives other samples in every pass.
        """
        if isinstance(source, Split):
            renamed = source.subset(range(len(source)))
            renamed.name = name
            return renamed

        def keep(count: int, first: Tensor) -> bool:
            return cache and count * _bytes(first) <= CACHE_LIMIT

        samples = samples_of(name, source, keep, keys)
        return cls(name, samples, torch.arange(len(samples)), cache=cache)

    def __len__(self) -> int:
        return len(self._indices)

    def __repr__(self) -> str:
        return f"Split({self.name!r}, {len(self)} samples)"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_inputs": None}

    @property
    def labels(self) -> Tensor:
        """int64 (N,)."""
        return self._labels

    @property
    def numbering(self) -> Numbering | None:
        """Numbers of the classes as the source declares them, or None."""
        return self._samples.numbering

    @property
    def held_bytes(self) -> int:
        """Bytes of inputs that this split keeps in memory, if it shares none with another."""
        held = self._inputs if self._inputs is not None else self._samples.inputs
        return 0 if held is None else held.numel() * held.element_size()

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one input, taken from the first."""
        return tuple(self._samples.fetch(self._indices[:1].tolist()).shape[1:])

    def batches(
        self, batch_size: int, device: torch.device | str | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the split in order.

        Args:
            batch_size: number of samples per batch; the last batch may be smaller.
            device: device of the tensors; the CPU by default.

        Yields:
            (inputs (n, ...), labels int64 (n,)).

        Raises:
            TargetError: a sample cannot be read.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, not {batch_size}")
        for start in range(0, len(self), batch_size):
            places = range(start, min(start + batch_size, len(self)))
            inputs, labels = self._read(places), self._labels[start : start + batch_size]
            yield (inputs, labels) if device is None else (inputs.to(device), labels.to(device))

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return (inputs (N, ...), labels int64 (N,)). The tensors are shared: do not write to them.

        Raises:
            TargetError: a sample cannot be read.
        """
        if self._caches():
            return self._held(), self._labels
        return self._read(range(len(self))), self._labels

    def subset(self, indices: Sequence[int] | Tensor) -> Split:
        """Return the samples at these positions, in this order, as a split of the same name.

        Args:
            indices: positions in 0..N-1; they may repeat.

        Raises:
            UsageError: a position outside the split.
        """
        return self._part(self.name, indices, cache=self._may_cache, keeps=False)

    def cut(self, name: str, indices: Sequence[int] | Tensor) -> tuple[Split, Split]:
        """Move samples to a split for another purpose.

        Args:
            name: name of the new split.
            indices: positions of its samples in 0..N-1.

        Returns:
            (the new split, the remaining samples in order).
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        stays = torch.ones(len(self), dtype=torch.bool)
        stays[chosen] = False
        # The new split is used for measuring, so it may be cached even if its source is read again on every pass.
        taken = self._part(name, chosen, cache=True, keeps=True)
        left = self._part(self.name, stays.nonzero().flatten(), cache=self._may_cache, keeps=True)
        return taken, left

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of labels and inputs, the same in every process.

        If the dataset offers raw content without decoding (image files, arrays in ``data``), the digest covers this
        content and the printed form of the transform. Otherwise it covers the bytes of the inputs; for a split that
        is not kept in memory, only those of about `DIGEST_SAMPLES` inputs.
        """
        if self._digest is None:
            digest = hashlib.sha256()
            digest.update(self._labels.numpy().tobytes())
            contents = self._samples.contents(self._indices.tolist(), stable=True)
            if contents is not None:
                digest.update("\n".join([self._samples.description(), *contents]).encode())
            else:
                places = range(len(self))
                if not self._caches() and len(self) > DIGEST_SAMPLES:
                    places = range(0, len(self), len(self) // DIGEST_SAMPLES)
                for start in range(0, len(places), 256):
                    inputs = self._read(places[start : start + 256])
                    digest.update(f"{inputs.dtype}{tuple(inputs.shape)}".encode())
                    digest.update(inputs.contiguous().numpy().tobytes())
            self._digest = digest.hexdigest()
        return self._digest

    def contents(self) -> list[str] | None:
        """Return one string per sample, equal for equal raw content; None if this would need decoding."""
        return self._samples.contents(self._indices.tolist(), stable=False)

    def places(self) -> list[tuple[int, int]]:
        """Return the place of each sample: (id of its dataset in this process, index there)."""
        return self._samples.places(self._indices.tolist())

    def _part(self, name: str, indices: Sequence[int] | Tensor, *, cache: bool, keeps: bool) -> Split:
        positions = torch.as_tensor(indices, dtype=torch.int64).reshape(-1)
        if len(positions) and (int(positions.min()) < 0 or int(positions.max()) >= len(self)):
            outside = positions[(positions < 0) | (positions >= len(self))][0]
            raise UsageError(f"{self.name} has {len(self)} samples: there is none at {int(outside)}")
        part = Split(name, self._samples, self._indices[positions], cache=cache, keeps=keeps)
        part._input_bytes = self._input_bytes
        if self._may_cache:
            part._whole, part._positions = self, positions
        return part

    def _caches(self) -> bool:
        if self._inputs is not None or self._samples.inputs is not None:
            return True
        if not self._may_cache or not len(self):
            return False
        if self._input_bytes is None:
            self._input_bytes = _bytes(self._samples.fetch(self._indices[:1].tolist()))
        return len(self) * self._input_bytes <= CACHE_LIMIT

    def _held(self) -> Tensor:
        """Return all inputs, read once."""
        if self._inputs is None:
            source, positions = self._source()
            if source is None:
                self._inputs = self._fetch(self._indices.tolist())
            elif torch.equal(positions, torch.arange(len(source))):
                self._inputs = source
            else:
                self._inputs = source[positions]
        return self._inputs

    def _source(self) -> tuple[Tensor | None, Tensor]:
        """Return memory that holds this split's inputs, or may hold them later, and their positions in it."""
        if self._inputs is not None:
            return self._inputs, torch.arange(len(self))
        if self._samples.inputs is not None:
            return self._samples.inputs, self._indices
        if self._whole is not None and self._whole._caches():
            return self._whole._held(), self._positions
        return None, self._indices

    def _read(self, places: Sequence[int]) -> Tensor:
        source, positions = self._source()
        if source is None and self._keeps and self._caches():
            source, positions = self._held(), torch.arange(len(self))
        wanted = torch.as_tensor(places, dtype=torch.int64)
        if source is None:
            return self._samples.fetch(self._indices[wanted].tolist())
        if isinstance(places, range) and self._inputs is source and places.step == 1:
            return source[places.start : places.stop]
        return source[positions[wanted]]

    def _fetch(self, indices: Sequence[int]) -> Tensor:
        """Read many inputs directly into one tensor; a list of them would need twice the memory."""
        first = self._samples.fetch(indices[:1])
        inputs = first.new_empty((len(indices), *first.shape[1:]))
        for start in range(0, len(indices), 1024):
            chunk = self._samples.fetch(indices[start : start + 1024])
            if chunk.shape[1:] != first.shape[1:]:
                raise TargetError(
                    f"{self.name}: sample {indices[start]} has shape {tuple(chunk.shape[1:])}, sample "
                    f"{indices[0]} has {tuple(first.shape[1:])}; {SIZES}"
                )
            inputs[start : start + len(chunk)] = chunk
        return inputs


def _bytes(x: Tensor) -> int:
    """Return the bytes of one input in memory, with floats as float32."""
    return x.numel() * (4 if x.is_floating_point() else x.element_size())
