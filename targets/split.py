"""One split of the data: calibration, validation, test or train."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from leanfront.core.targets.samples import Samples, samples_of
from leanfront.errors import TargetError, UsageError

CACHE_LIMIT = 2 * 1024**3
"""Bytes of inputs that a split may keep in memory; larger ones are read batch by batch."""
DIGEST_SAMPLES = 256
"""Inputs that enter the digest of a split which is too large for memory and has no cheap content to hash."""


class Split:
    """Labelled samples of one purpose, made by `Split.of`.

    Inputs are kept in memory once read, up to `CACHE_LIMIT` bytes; parts made by `subset` share their whole's
    memory. Floating inputs come as float32, integer ones (token ids) as they are. Splits can be pickled: what
    can be read again is not carried along.
    """

    def __init__(
        self, name: str, samples: Samples, indices: Tensor, *, cache: bool, keeps: bool = True
    ) -> None:
        self.name = name
        self._samples = samples
        self._indices = indices  # int64 (N,), into samples
        self._may_cache = cache
        self._keeps = (
            keeps  # a passing part, as of a race, reads its whole's memory and keeps none of its own
        )
        self._whole: Split | None = None  # whose memory this one reads, at `_positions`
        self._positions = indices
        self._inputs: Tensor | None = None
        self._input_bytes: int | None = None
        self._digest: str | None = None
        self._labels = samples.labels[indices]

    @classmethod
    def of(cls, name: str, source: Any, *, cache: bool = True) -> Split:
        """Make a split of whatever holds labelled samples.

        Args:
            name: ``calibration``, ``validation``, ``test`` or ``train``; every message names it.
            source: a map-style dataset of (input, label); a DataLoader, of which the dataset is used when it is
                map-style with the default collation (a SubsetRandomSampler's choice is honoured) and which is
                otherwise read through once; an iterable dataset, read through once; a pair (inputs (N, ...),
                labels (N,)); or another split, which is renamed.
            cache: whether inputs may be kept in memory. Not for training data that is augmented on reading.

        Raises:
            TargetError: the source is none of these, empty or unlabelled, a label is no integer, or a sample
                cannot be read.
        """
        if isinstance(source, Split):
            renamed = source.subset(range(len(source)))
            renamed.name = name
            return renamed

        def keep(count: int, first: Tensor) -> bool:
            return cache and count * _bytes(first) <= CACHE_LIMIT

        samples = samples_of(name, source, keep)
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
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one input: the first one's."""
        return tuple(self._samples.fetch(self._indices[:1].tolist()).shape[1:])

    def batches(
        self, batch_size: int, device: torch.device | str | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Walk over the split in its order.

        Args:
            batch_size: largest number of samples in a batch; only the last is smaller.
            device: where the tensors are put; the CPU without it.

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
        """All of it in memory: (inputs (N, ...), labels int64 (N,)). They are shared: do not write to them.

        Raises:
            TargetError: a sample cannot be read.
        """
        if self._caches():
            return self._held(), self._labels
        return self._read(range(len(self))), self._labels

    def subset(self, indices: Sequence[int] | Tensor) -> Split:
        """The samples at these positions, in that order, under the same name.

        Args:
            indices: positions in 0..N-1; one may come twice.

        Raises:
            UsageError: a position outside the split.
        """
        return self._part(self.name, indices, cache=self._may_cache, keeps=False)

    def cut(self, name: str, indices: Sequence[int] | Tensor) -> tuple[Split, Split]:
        """Take samples out for another purpose.

        Args:
            name: of the split that is taken out.
            indices: positions of its samples in 0..N-1.

        Returns:
            (the split taken out, what this one keeps, in order).
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        stays = torch.ones(len(self), dtype=torch.bool)
        stays[chosen] = False
        # What is taken out is for measuring, so it may be kept even where its source is read anew every time.
        taken = self._part(name, chosen, cache=True, keeps=True)
        left = self._part(self.name, stays.nonzero().flatten(), cache=self._may_cache, keeps=True)
        return taken, left

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over labels and inputs, the same in every process.

        Inputs enter as their raw content where the dataset offers it undecoded (image files, arrays in
        ``data``) together with the printed form of its transform; else as the bytes of the inputs; of a split
        that may not or cannot be kept in memory, of `DIGEST_SAMPLES` of them.
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
        """One string a sample that equals another sample's when the raw content does; None if not known cheaply."""
        return self._samples.contents(self._indices.tolist(), stable=False)

    def places(self) -> list[tuple[int, int]]:
        """Where each sample stands: (the id of its dataset in this process, its index there)."""
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
        """All inputs, read once."""
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
        """Memory that holds this split's inputs already or may come to, and where they stand in it."""
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
        """Read many inputs straight into one tensor: a list of them would need the memory twice."""
        first = self._samples.fetch(indices[:1])
        inputs = first.new_empty((len(indices), *first.shape[1:]))
        for start in range(0, len(indices), 1024):
            chunk = self._samples.fetch(indices[start : start + 1024])
            if chunk.shape[1:] != first.shape[1:]:
                raise TargetError(
                    f"{self.name}: sample {indices[start]} has shape {tuple(chunk.shape[1:])}, sample "
                    f"{indices[0]} has {tuple(first.shape[1:])}; make all inputs one shape (resize or crop)"
                )
            inputs[start : start + len(chunk)] = chunk
        return inputs


def _bytes(x: Tensor) -> int:
    """Bytes of one input as it is kept: floats as float32."""
    return x.numel() * (4 if x.is_floating_point() else x.element_size())
