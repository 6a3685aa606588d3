"""Verifying stored candidates: from their kept files, or from files made for it."""

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
    """Verifies candidates of one search, and hands out only files that were verified.

    Args:
        store: where the search is; verifications are stored there.
        files: of its candidates.
    """

    def __init__(self, store: FrontierStore, files: CandidateFiles) -> None:
        self.files = files
        self._store = store

    def verify(self, candidate: Candidate) -> Verification:
        """Verify a candidate by its kept file, which is made where there is none, and store what came of it.

        Raises:
            UsageError: nothing is claimed of the candidate.
            StorageError: the file or the database cannot be used.
        """
        try:
            content, digest = self.files.content(candidate)
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
        remade = digest is None or self.files.remade(candidate)
        return self._stored(verify(candidate, self.files.evaluator, content, digest, remade=remade))

    def file(self, candidate: Candidate, format: str) -> ArtifactRecord:
        """Keep a candidate's file in a format, if there is none that is whole, and verify it where nobody has.

        Args:
            candidate: stored.
            format: one of `FORMATS`.

        Raises:
            CompressionError: it cannot be made.
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
