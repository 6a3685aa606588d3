"""The artifact folder together with the rows that say who needs each file in it.

A file lies there for as long as a candidate's row or a search's names it. Whoever adds or removes one holds the
row of its content meanwhile, so that a file which one process removes and another has just written is either still
needed, or written again. What a process that dies leaves behind is at most a file, or a row, that nothing needs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from leanfront.core.storage import candidates
from leanfront.core.storage.artifacts import ArtifactStore
from leanfront.core.storage.database import Database
from leanfront.core.storage.reading import ArtifactRecord, artifact_record
from leanfront.core.storage.searches import find_search
from leanfront.core.storage.tables import ArtifactRow, CandidateArtifactRow, CandidateRow, SearchRow
from leanfront.errors import NotFoundError

DENSE = "dense"
"""Kind of the dense weights of a search; files of candidates have their format's name for a kind."""
STRAY_SECONDS = 3600.0
"""Age from which a file that nothing needs is taken for left behind: a younger one may be about to be needed."""

CHECKPOINT_SECONDS = 7 * 86_400.0
"""Age from which the checkpoint of an interrupted recovery is taken for given up."""


class Shelf:
    """Keeps files of searches and candidates, and removes those that nothing needs any more.

    Args:
        database: an open one. An artifact folder belongs to one database.
        folder: of the files.
    """

    def __init__(self, database: Database, folder: ArtifactStore) -> None:
        self.database = database
        self.folder = folder

    def keep(self, candidate: int, format: str, content: bytes, *, remade: bool = False) -> ArtifactRecord:
        """Keep a candidate's file in a format; it takes the place of the one there was.

        Args:
            candidate: its id.
            format: of the file.
            content: its bytes.
            remade: whether it was made anew, after the candidate had been measured.

        Raises:
            NotFoundError: no such candidate.
            StorageError: the folder cannot be written.
        """
        digest, before = self.folder.put(content), None
        try:
            with self.database.writing() as session:
                # Two that keep the same come one after the other.
                key = {"key_share": True}
                if session.get(CandidateRow, candidate, with_for_update=key) is None:
                    raise candidates.missing(candidate)
                found, before = self._link(session, candidate, format, digest, content, remade)
        except NotFoundError:
            self.discard([digest])
            raise
        self.discard([] if before is None else [before])
        return found

    def link(self, session: Session, candidate: int, format: str, content: bytes) -> None:
        """Keep a file of a candidate that the same transaction stores: with it, or not at all.

        Args:
            session: of the transaction, which has the candidate.
            candidate: its id.
            format: of the file.
            content: in the folder already (`ArtifactStore.put`), so that the transaction does not wait for the disk.

        Raises:
            StorageError: the folder cannot be written.
        """
        self._link(session, candidate, format, hashlib.sha256(content).hexdigest(), content, False)

    def _link(
        self, session: Session, candidate: int, format: str, digest: str, content: bytes, remade: bool
    ) -> tuple[ArtifactRecord, str | None]:
        """The row of a candidate's file, and the digest of the one it takes the place of."""
        row, before = self._held(session, digest, format, len(content)), None
        if digest not in self.folder:
            # Removed since, by a process that saw that nothing needed it.
            self.folder.put(content)
        link = session.get(CandidateArtifactRow, (candidate, format))
        if link is None:
            session.add(
                CandidateArtifactRow(candidate_id=candidate, format=format, digest=digest, remade=remade)
            )
        else:
            before, link.digest, link.remade = link.digest, digest, remade
        return artifact_record(row), before

    def keep_weights(self, search: str, content: bytes) -> str:
        """Keep a search's dense weights; their digest, which the search's record has from now on.

        Raises:
            NotFoundError: no such search.
            StorageError: the folder cannot be written.
        """
        digest = self.folder.put(content)
        try:
            with self.database.writing() as session:
                owner = find_search(session, search, lock=True, counters=True)
                self._held(session, digest, DENSE, len(content))
                if digest not in self.folder:
                    self.folder.put(content)
                before, owner.artifact = owner.artifact, digest
        except NotFoundError:
            self.discard([digest])
            raise
        self.discard([] if before is None else [before])
        return digest

    def find(self, candidate: int, format: str) -> ArtifactRecord | None:
        """A candidate's file in a format, or None where none was kept."""
        with self.database.reading() as session:
            row = session.scalar(
                select(ArtifactRow)
                .join(CandidateArtifactRow, CandidateArtifactRow.digest == ArtifactRow.digest)
                .where(CandidateArtifactRow.candidate_id == candidate, CandidateArtifactRow.format == format)
            )
            return None if row is None else artifact_record(row)

    def remade(self, candidate: int, format: str) -> bool:
        """Whether the file that is kept of a candidate was made anew, after the candidate had been measured."""
        with self.database.reading() as session:
            link = session.get(CandidateArtifactRow, (candidate, format))
            return link is not None and link.remade

    def discard(self, digests: Iterable[str]) -> int:
        """Remove those files that nothing needs; how many were."""
        removed = 0
        for digest in dict.fromkeys(digests):
            with self.database.writing() as session:
                row = self._held(session, digest, "stray", 0)
                if not needed(session, [digest]):
                    # The row goes with the transaction's end: whoever wants to write the same content waits for it.
                    self.folder.remove(digest)
                    session.delete(row)
                    removed += 1
        return removed

    def clean(self, seconds: float = STRAY_SECONDS) -> int:
        """Remove what was left behind: files and rows that nothing needs, files half-written, old checkpoints.

        Args:
            seconds: age from which something is taken for left behind.

        Returns:
            How many were removed.
        """
        limit = time.time() - seconds
        halves = [*self.folder.unfinished(limit), *self.folder.abandoned(time.time() - CHECKPOINT_SECONDS)]
        for path in halves:
            path.unlink(missing_ok=True)
        with self.database.reading() as session:
            found = strays(session, self.folder, limit)
        return len(halves) + self.discard(found)

    @staticmethod
    def _held(session: Session, digest: str, kind: str, size: int) -> ArtifactRow:
        """The row of a content, made where there is none; nobody else has it until the transaction ends."""
        wanted = select(ArtifactRow).where(ArtifactRow.digest == digest).with_for_update()
        while True:
            row = session.scalar(wanted)
            if row is not None:
                return row
            # Of processes that make it at once, one does, and the others find it.
            with suppress(IntegrityError), session.begin_nested():
                session.add(ArtifactRow(digest=digest, kind=kind, bytes=size))


def needed(session: Session, digests: Sequence[str] | None = None) -> set[str]:
    """Digests that a candidate or a search names: of these, or all."""
    found: set[str] = set()
    for column in (CandidateArtifactRow.digest, SearchRow.artifact):
        wanted = select(column).where(column.is_not(None)).distinct()
        if digests is not None:
            wanted = wanted.where(column.in_(digests))
        found.update(each for each in session.scalars(wanted) if each is not None)
    return found


def strays(session: Session, folder: ArtifactStore, limit: float) -> list[str]:
    """Digests of files and rows from before a time (seconds since the epoch) that nothing needs, sorted."""
    moment = datetime.fromtimestamp(limit, UTC)
    kept = needed(session)
    rows = session.scalars(select(ArtifactRow.digest).where(ArtifactRow.created < moment))
    files = [digest for digest in folder if folder.age_of(digest) < limit]
    # A row that is younger than the limit is somebody's who has not said yet whose file it is.
    young = set(session.scalars(select(ArtifactRow.digest).where(ArtifactRow.created >= moment)))
    return sorted((set(rows) | set(files)) - kept - young)
