"""Verification of stored candidates, from their kept files or from files made for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from leanfront.actions.candidate_files import CandidateFiles
from leanfront.core.compressors.exchange.formats import PACKED, format_of
from leanfront.core.search import Candidate, Claim, Verification, verify
from leanfront.core.storage import ArtifactRecord, FrontierStore
from leanfront.errors import ArtifactError, CompressionError
from leanfront.files import whole
from leanfront.version import __version__


class Verifier:
    """Verifies candidates of one search, and gives out only verified files.

    Args:
        store: store of the search, which also stores the verifications.
        files: files of its candidates.
    """

    def __init__(self, store: FrontierStore, files: CandidateFiles) -> None:
        self.files = files
        self._store = store

    def verify(self, candidate: Candidate) -> Verification:
        """Verify a candidate by its kept file, made if there is none, and store the result.

        Raises:
            UsageError: the candidate has no claims to verify.
            StorageError: the file or the database cannot be used.
        """
        try:
            content, digest = self.files.content(candidate)
        except CompressionError as error:
            # A fault of this candidate: others can still be verified.
            assert candidate.id is not None
            claim = Claim("artifact", "this candidate's", str(error))
            return self._stored(Verification(candidate.id, (claim,)))
        return self.check(candidate, content, digest)

    def each(self, candidates: Iterable[Candidate]) -> Iterator[Verification]:
        """Verify candidates one by one."""
        for candidate in candidates:
            yield self.verify(candidate)

    def check(self, candidate: Candidate, content: bytes, digest: str | None = None) -> Verification:
        """Verify a candidate by the content of a packed artifact, and store the result.

        Args:
            candidate: a stored candidate.
            content: content of the packed artifact.
            digest: digest under which it is kept; None for a file that was just made.
        """
        remade = digest is None or self.files.remade(candidate)
        return self._stored(verify(candidate, self.files.evaluator, content, digest, remade=remade))

    def file(self, candidate: Candidate, format: str) -> ArtifactRecord:
        """Return a candidate's file in a format; make and keep it if needed, and verify the candidate if it is not.

        Args:
            candidate: a stored candidate.
            format: one of `FORMATS`.

        Raises:
            CompressionError: the file cannot be made.
            StorageError: the artifact folder cannot be used.
        """
        record = self.files.whole(candidate, format)
        if record is None:
            if format == PACKED:
                content = self.files.packed(candidate)
            else:
                packed_file = self.file(candidate, PACKED)
                content = self.files.converted(self.files.read(packed_file.digest), format)
            record = self.files.keep(candidate, format, content)
            if format == PACKED:
                self.verify(candidate)
        elif candidate.verified is None:
            self.verify(candidate)
        return record

    def export(self, candidate: Candidate, path: Path) -> Path:
        """Write a candidate to a file after verifying the content.

        Args:
            candidate: a stored candidate.
            path: path of the file; its suffix gives the format.

        Raises:
            UsageError: the suffix is unknown.
            CompressionError: the file cannot be made.
            ArtifactError: a claim about the candidate does not hold; nothing is written.
            StorageError: the file cannot be written.
        """
        format = format_of(path)
        kept = self.files.kept(candidate)
        content, digest = (self.files.packed(candidate), None) if kept is None else kept
        verification = self.check(candidate, content, digest)
        if not verification.ok:
            raise ArtifactError(f"'{path.name}' is not written: {verification.broken_text}")
        with whole(path) as file:
            file.write(self.files.converted(content, format.name))
        return path

    def _stored(self, verification: Verification) -> Verification:
        found = replace(verification, release=__version__)
        self._store.add_verification(found)
        return self._store.verification(found.candidate)
