"""Verifying stored candidates: from their kept files, or from files made for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from torch import nn

from leanfront.core.compressors.artifact.packed_file import read, reopen, restore
from leanfront.core.compressors.exchange.formats import FORMATS, packed, require_format
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.search import Candidate, Claim, Evaluator, Verification, verify
from leanfront.core.search.options import resolve_device
from leanfront.core.storage import ArtifactRecord, FrontierStore, Shelf
from leanfront.core.targets import Target
from leanfront.errors import ArtifactError, CompressionError, NotFoundError
from leanfront.files import whole
from leanfront.version import __version__

PACKED = "safetensors"
"""The format that is verified, and that searches keep of the candidates on their frontier."""


class Verifier:
    """Verifies candidates of one search, and makes their files. What it needs of the target is derived once.

    Args:
        store: where the search is; verifications are stored there.
        shelf: where files are kept.
        target: the search's.
        samples: calibration samples that its candidates were made with.
        device: where candidates are made and evaluated: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    def __init__(
        self, store: FrontierStore, shelf: Shelf, target: Target, samples: int, device: str = "auto"
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._target = target
        self._samples = samples
        self._device = resolve_device(device)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Of the target, on the device."""
        structure = derive(self._target.model, self._target.example_input)
        return Evaluator(self._target, structure, device=self._device, samples=self._samples)

    def verify(self, candidate: Candidate) -> Verification:
        """Verify a candidate by its kept file, which is made where there is none, and store what came of it.

        Raises:
            UsageError: nothing is claimed of the candidate.
            StorageError: the file or the database cannot be used.
        """
        try:
            content, digest = self.content(candidate)
        except CompressionError as error:
            # The candidate's own fault: others can be verified all the same.
            assert candidate.id is not None
            claim = Claim("artifact", "this candidate's", str(error))
            return self._stored(Verification(candidate.id, (claim,)))
        return self.check(candidate, content, digest)

    def each(self, candidates: Iterable[Candidate]) -> Iterator[Verification]:
        """Verify candidates one after the other."""
        for candidate in candidates:
            yield self.verify(candidate)

    def check(self, candidate: Candidate, content: bytes, digest: str | None = None) -> Verification:
        """Verify a candidate by these bytes, and store what came of it.

        Args:
            candidate: stored.
            content: of a packed artifact.
            digest: that they are stored under; None of a file that was just made.
        """
        remade = digest is None or self._shelf.remade(_id(candidate), PACKED)
        return self._stored(verify(candidate, self.evaluator, content, digest, remade=remade))

    def content(self, candidate: Candidate) -> tuple[bytes, str]:
        """A candidate's packed file, and the digest it is kept under; it is made and kept where there is none.

        Raises:
            CompressionError: it cannot be made.
            StorageError: the artifact folder cannot be used.
        """
        kept = self.kept(candidate)
        if kept is not None:
            return kept
        content = self._packed(candidate)
        return content, self._shelf.keep(_id(candidate), PACKED, content, remade=True).digest

    def kept(self, candidate: Candidate) -> tuple[bytes, str] | None:
        """The packed file that is kept of a candidate, as it is now, and the digest it is kept under."""
        record = self._shelf.find(_id(candidate), PACKED)
        if record is None or record.digest not in self._shelf.folder:
            return None
        return self._shelf.folder.read(record.digest), record.digest

    def file(self, candidate: Candidate, format: str) -> ArtifactRecord:
        """Keep a candidate's file in a format, if there is none that is whole, and verify it where nobody has.

        Args:
            candidate: stored.
            format: a suffix of `FORMATS` without its dot.

        Raises:
            CompressionError: it cannot be made.
            StorageError: the artifact folder cannot be used.
        """
        record = self._whole(candidate, format)
        if record is None:
            if format == PACKED:
                content = self._packed(candidate)
            else:
                packed_file = self.file(candidate, PACKED)
                content = self._converted(self._shelf.folder.get(packed_file.digest), f".{format}")
            record = self._shelf.keep(_id(candidate), format, content, remade=True)
            if format == PACKED:
                self.verify(candidate)
        elif candidate.verified is None:
            self.verify(candidate)
        return record

    def _whole(self, candidate: Candidate, format: str) -> ArtifactRecord | None:
        """What is kept of a candidate in a format, unless it is gone or damaged."""
        record = self._shelf.find(_id(candidate), format)
        try:
            if record is not None:
                self._shelf.folder.require_whole(record.digest, record.bytes)
        except (NotFoundError, ArtifactError):
            return None
        return record

    def module(self, candidate: Candidate, device: str = "cpu") -> nn.Module | None:
        """The module that a candidate's kept file holds, or None where none is kept.

        Raises:
            ArtifactError: the file is damaged.
        """
        kept = self.kept(candidate)
        if kept is None:
            return None
        content, digest = kept
        if hashlib.sha256(content).hexdigest() != digest:
            raise ArtifactError(f"the kept file {digest} of candidate {candidate.id} is damaged")
        return restore(read(content), self._target.model, self._target.example_input).to(device)

    def export(self, candidate: Candidate, path: Path) -> Path:
        """Write a candidate to a file, after what it holds was verified.

        Args:
            candidate: stored.
            path: of the file; its suffix says the format.

        Raises:
            UsageError: another suffix.
            CompressionError: it cannot be made.
            ArtifactError: what is claimed of the candidate does not hold; nothing is written.
            StorageError: the file cannot be written.
        """
        require_format(path)
        kept = self.kept(candidate)
        content, digest = (self._packed(candidate), None) if kept is None else kept
        verification = self.check(candidate, content, digest)
        if not verification.ok:
            raise ArtifactError(f"'{path.name}' is not written: {broken_text(verification)}")
        with whole(path) as file:
            file.write(self._converted(content, path.suffix.lower()))
        return path

    def _packed(self, candidate: Candidate) -> bytes:
        compressor = self.evaluator.compressor
        compressed = compressor.materialise(candidate.configuration)
        return packed(compressed, compressor.structure, self._target)

    def _converted(self, content: bytes, suffix: str) -> bytes:
        """The packed file in another format, with its own weights: made anew they could be others."""
        if suffix == f".{PACKED}":
            return content
        model, example = self._target.model, self._target.example_input
        reopened = reopen(read(content), model, example)
        return FORMATS[suffix](reopened, self.evaluator.compressor.structure, self._target)

    def _stored(self, verification: Verification) -> Verification:
        found = replace(verification, release=__version__)
        self._store.add_verification(found)
        return self._store.verification(found.candidate)


def broken_text(verification: Verification) -> str:
    """Which claims do not hold, as a sentence."""
    broken = "; ".join(told(claim) for claim in verification.broken)
    return f"what is claimed of candidate {verification.candidate} does not hold: {broken}"


def told(claim: Claim) -> str:
    """A claim in a few words: ``accuracy (test) is claimed to be 0.9, found 0.8``."""
    where = f" ({claim.split})" if claim.split else ""
    return f"{claim.name}{where} is claimed to be {claim.claimed}, found {claim.found}"


def _id(candidate: Candidate) -> int:
    if candidate.id is None:
        raise NotFoundError("the candidate is not stored: it has no files")
    return candidate.id
