"""The artifact folder, with database rows that record which files are needed.

A file is kept as long as a row of a candidate or a search names it. A process that adds or removes a file locks the
row of its content meanwhile. So a file that one process removes and another has just written is either still
needed or written again. A process that dies leaves at most a file or a row that nothing needs.
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
"""Kind of a search's dense weights; the kind of a candidate's file is its format."""
STRAY_SECONDS = 3600.0
"""Age from which an unneeded file counts as left behind; a younger one may be about to be named by a row."""

CHECKPOINT_SECONDS = 7 * 86_400.0
"""Age from which the checkpoint of an interrupted recovery counts as abandoned."""


class Shelf:
    """Keeps files of searches and candidates, and removes files that nothing needs any more.

    Args:
        database: an open database. Each artifact folder belongs to one database.
        folder: the artifact folder.
    """

    def __init__(self, database: Database, folder: ArtifactStore) -> None:
        self.database = database
        self.folder = folder

    def keep(self, candidate: int, format: str, content: bytes, *, remade: bool = False) -> ArtifactRecord:
        """Keep a candidate's file in a format, replacing the previous one.

        Args:
            candidate: id of the candidate.
            format: format of the file.
            content: content of the file.
            remade: whether the file was made again after the candidate had been measured.

        Raises:
            NotFoundError: the candidate does not exist.
            StorageError: the folder cannot be written.
        """
        digest, before = self.folder.put(content), None
        try:
            with self.database.writing() as session:
                # Serialises processes that keep the same content.
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
        """Keep the file of a candidate that the same transaction stores.

        Args:
            session: session of the transaction that stores the candidate.
            candidate: id of the candidate.
            format: format of the file.
            content: content already in the folder (`ArtifactStore.put`), so that the transaction does not wait for
                the disk.

        Raises:
            StorageError: the folder cannot be written.
        """
        self._link(session, candidate, format, hashlib.sha256(content).hexdigest(), content, False)

    def _link(
        self, session: Session, candidate: int, format: str, digest: str, content: bytes, remade: bool
    ) -> tuple[ArtifactRecord, str | None]:
        """Link a file to a candidate; return its record and the digest of the file it replaces."""
        row, before = self._held(session, digest, format, len(content)), None
        if digest not in self.folder:
            # Removed since, by a process that saw it unneeded.
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
        """Keep a search's dense weights, note them in its record, and return their digest.

        Raises:
            NotFoundError: the search does not exist.
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
        """Return the record of a candidate's file in a format, or None if there is none."""
        with self.database.reading() as session:
            row = session.scalar(
                select(ArtifactRow)
                .join(CandidateArtifactRow, CandidateArtifactRow.digest == ArtifactRow.digest)
                .where(CandidateArtifactRow.candidate_id == candidate, CandidateArtifactRow.format == format)
            )
            return None if row is None else artifact_record(row)

    def remade(self, candidate: int, format: str) -> bool:
        """Whether the kept file was made again after the candidate had been measured."""
        with self.database.reading() as session:
            link = session.get(CandidateArtifactRow, (candidate, format))
            return link is not None and link.remade

    def discard(self, digests: Iterable[str]) -> int:
        """Remove those of the files that nothing needs; return how many were removed."""
        removed = 0
        for digest in dict.fromkeys(digests):
            with self.database.writing() as session:
                row = self._held(session, digest, "stray", 0)
                if not needed(session, [digest]):
                    # The row is deleted when the transaction ends; processes that write the same content wait for
                    # that.
                    self.folder.remove(digest)
                    session.delete(row)
                    removed += 1
        return removed

    def clean(self, seconds: float = STRAY_SECONDS) -> int:
        """Remove unneeded files and rows, partial files, and abandoned checkpoints.

        Args:
            seconds: age from which something counts as left behind.

        Returns:
            Number of things removed.
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
        """Return the row of a content, locked until the transaction ends; create it if needed."""
        wanted = select(ArtifactRow).where(ArtifactRow.digest == digest).with_for_update()
        while True:
            row = session.scalar(wanted)
            if row is not None:
                return row
            # If several processes create it at once, one succeeds and the others find it.
            with suppress(IntegrityError), session.begin_nested():
                session.add(ArtifactRow(digest=digest, kind=kind, bytes=size))


def needed(session: Session, digests: Sequence[str] | None = None) -> set[str]:
    """Return the digests that a candidate or a search names, among `digests` or all."""
    found: set[str] = set()
    for column in (CandidateArtifactRow.digest, SearchRow.artifact):
        wanted = select(column).where(column.is_not(None)).distinct()
        if digests is not None:
            wanted = wanted.where(column.in_(digests))
        found.update(each for each in session.scalars(wanted) if each is not None)
    return found


def strays(session: Session, folder: ArtifactStore, limit: float) -> list[str]:
    """Return the digests of unneeded files and rows older than `limit` (seconds since the epoch), sorted."""
    moment = datetime.fromtimestamp(limit, UTC)
    kept = needed(session)
    rows = session.scalars(select(ArtifactRow.digest).where(ArtifactRow.created < moment))
    files = [digest for digest in folder if folder.age_of(digest) < limit]
    # A younger row may belong to a process that has not linked it yet.
    young = set(session.scalars(select(ArtifactRow.digest).where(ArtifactRow.created >= moment)))
    return sorted((set(rows) | set(files)) - kept - young)
