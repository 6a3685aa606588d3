"""Files of stored candidates, read from the artifact folder or made."""

from __future__ import annotations

import hashlib
from functools import cached_property

from torch import nn

from leanfront.core.compressors.artifact.packed_file import read, restore
from leanfront.core.compressors.artifact.rebuild import compressed_of
from leanfront.core.compressors.derived_structure import structure_of
from leanfront.core.compressors.exchange.formats import FORMATS, PACKED
from leanfront.core.search import Candidate, Evaluator
from leanfront.core.search.options import resolve_device
from leanfront.core.storage import ArtifactRecord, Shelf
from leanfront.core.targets import Target
from leanfront.core.targets.memory_format import with_innermost
from leanfront.errors import ArtifactError, NotFoundError


class CandidateFiles:
    """Files of the candidates of one search; what they need of the target is computed once.

    Args:
        shelf: shelf that keeps the files.
        target: target of the search.
        samples: number of calibration samples that its candidates were made with.
        device: device on which candidates are made and evaluated: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    def __init__(self, shelf: Shelf, target: Target, samples: int, device: str = "auto") -> None:
        self._shelf = shelf
        self._target = target
        self._samples = samples
        self._device = resolve_device(device)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Evaluator of the target on the device."""
        structure = structure_of(self._target)
        return Evaluator(self._target, structure, device=self._device, samples=self._samples)

    def kept(self, candidate: Candidate) -> tuple[bytes, str] | None:
        """Return the kept packed file of a candidate, unchecked, and its digest; None if there is none."""
        record = self._shelf.find(id_of(candidate), PACKED)
        if record is None or record.digest not in self._shelf.folder:
            return None
        return self._shelf.folder.read(record.digest), record.digest

    def content(self, candidate: Candidate) -> tuple[bytes, str]:
        """Return a candidate's packed file and its digest; make and keep the file if there is none.

        Raises:
            CompressionError: the file cannot be made.
            StorageError: the artifact folder cannot be used.
        """
        kept = self.kept(candidate)
        if kept is not None:
            return kept
        content = self.packed(candidate)
        return content, self.keep(candidate, PACKED, content).digest

    def whole(self, candidate: Candidate, format: str) -> ArtifactRecord | None:
        """Return the record of a candidate's kept file in a format; None if it is missing or damaged."""
        record = self._shelf.find(id_of(candidate), format)
        try:
            if record is not None:
                self._shelf.folder.require_whole(record.digest, record.bytes)
        except (NotFoundError, ArtifactError):
            return None
        return record

    def keep(self, candidate: Candidate, format: str, content: bytes) -> ArtifactRecord:
        """Keep a file that was made again rather than by the search.

        Raises:
            StorageError: the artifact folder cannot be used.
        """
        return self._shelf.keep(id_of(candidate), format, content, remade=True)

    def remade(self, candidate: Candidate) -> bool:
        """Whether the kept packed file was made again rather than by the search."""
        return self._shelf.remade(id_of(candidate), PACKED)

    def read(self, digest: str) -> bytes:
        """Return the content of a kept file. Raises `StorageError` if it cannot be read."""
        return self._shelf.folder.get(digest)

    def module(self, candidate: Candidate, device: str = "cpu") -> nn.Module | None:
        """Return the module in a candidate's kept file, or None if no file is kept.

        Raises:
            ArtifactError: the file is damaged.
        """
        kept = self.kept(candidate)
        if kept is None:
            return None
        content, digest = kept
        if hashlib.sha256(content).hexdigest() != digest:
            raise ArtifactError(f"the kept file {digest} of candidate {candidate.id} is damaged")
        module = restore(read(content), self._target.model, self._target.example_input).to(device)
        return with_innermost(module, self._target.channels_last)

    def packed(self, candidate: Candidate) -> bytes:
        """Make a candidate's packed file again. Raises `CompressionError`."""
        compressor = self.evaluator.compressor
        compressed = compressor.materialise(candidate.configuration)
        return FORMATS[PACKED].write(compressed, compressor.structure, self._target)

    def converted(self, content: bytes, format: str) -> bytes:
        """Convert a packed file to another format with its own weights, since remade weights could differ.

        Raises:
            CompressionError: the model cannot be written in that format.
        """
        if format == PACKED:
            return content
        structure = self.evaluator.compressor.structure
        compressed = compressed_of(read(content), structure, self._target.model)
        return FORMATS[format].write(compressed, structure, self._target)


def id_of(candidate: Candidate) -> int:
    """Return the id of a stored candidate. Raises `NotFoundError` if it is not stored."""
    if candidate.id is None:
        raise NotFoundError("the candidate is not stored: it has no files")
    return candidate.id
