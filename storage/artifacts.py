"""Artifacts: files named by the hash of their content (weights, reports, exports)."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from leanfront.errors import ArtifactError, NotFoundError, StorageError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
CHECKPOINTS = "recovery"
"""Subfolder of the artifact folder that holds the checkpoints of recoveries."""


class ArtifactStore:
    """A folder of files named by the SHA-256 of their content; safe for several processes.

    A file is written under a temporary name and then renamed, so readers see all of it or nothing. A process that
    dies leaves at most a temporary file (``.tmp-...``), never half an artifact.

    Args:
        folder: folder of the files; created at the first `put`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def put(self, content: bytes | str | os.PathLike[str]) -> str:
        """Store bytes, or a copy of the file at a path. Storing the same content again changes nothing.

        Returns:
            The SHA-256 of the content, 64 hexadecimal digits.

        Raises:
            StorageError: the file cannot be read, or the folder cannot be written (read-only, disk full). No
                partial file is left.
        """
        with self._explained("write to"):
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = self.folder / f".tmp-{uuid.uuid4().hex}"
            try:
                with open(temporary, "xb") as target:
                    digest = self._copy(content, target)
                    target.flush()
                    # Without fsync, a power cut could leave an empty file under the final name.
                    os.fsync(target.fileno())
                place = self.folder / digest[:2] / digest
                place.parent.mkdir(exist_ok=True)
                # Replacing also repairs a damaged file of that name.
                os.replace(temporary, place)
            finally:
                temporary.unlink(missing_ok=True)
        return digest

    def path(self, digest: str) -> Path:
        """Return the path of an artifact.

        Raises:
            NotFoundError: there is no artifact with that digest.
        """
        place = self._place(digest)
        if not place.is_file():
            raise NotFoundError(
                f"no artifact {digest} in {self.folder}: check LEANFRONT_ARTIFACTS, or make it again"
            )
        return place

    def get(self, digest: str) -> bytes:
        """Return the content of an artifact, checked against its digest.

        Raises:
            NotFoundError: there is no artifact with that digest.
            StorageError: the file is damaged or cannot be read.
        """
        content = self.read(digest)
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise StorageError(
                f"the artifact {self.path(digest)} is damaged: its content has the digest {found}; delete it and "
                "make it again"
            )
        return content

    def read(self, digest: str) -> bytes:
        """Return the content of an artifact unchecked. Raises `NotFoundError` and `StorageError` as `get`."""
        place = self.path(digest)
        with self._explained("read from"):
            return place.read_bytes()

    def require_whole(self, digest: str, size: int) -> Path:
        """Return the path of an artifact after checking its whole content.

        Raises:
            NotFoundError: there is no artifact with that digest.
            ArtifactError: the content has changed since it was stored.
            StorageError: the file cannot be read.
        """
        place = self.path(digest)
        with self._explained("read from"), open(place, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            length = os.fstat(file.fileno()).st_size
        if (found, length) != (digest, size):
            raise ArtifactError(
                f"the artifact {digest} is damaged: {length} bytes of the digest {found} where {size} were "
                "written; make it again"
            )
        return place

    def remove(self, digest: str) -> None:
        """Remove an artifact if it exists. `leanfront.core.storage.Shelf` decides when that is safe."""
        with self._explained("remove from"):
            self._place(digest).unlink(missing_ok=True)

    def age_of(self, digest: str) -> float:
        """Return when a file was written, in seconds since the epoch; the current time if the file is gone."""
        try:
            return self._place(digest).stat().st_mtime
        except FileNotFoundError:
            return time.time()

    def unfinished(self, limit: float) -> list[Path]:
        """Return temporary files that were begun before `limit` (seconds since the epoch) and never finished."""
        found = []
        for path in self.folder.glob(".tmp-*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    found.append(path)
        return found

    def checkpoint(self, name: str) -> Path:
        """Return the path of the checkpoint of the recovery called `name`."""
        return self.folder / CHECKPOINTS / name

    def abandoned(self, limit: float) -> list[Path]:
        """Return checkpoints that were last written before `limit` (seconds since the epoch)."""
        found = []
        for path in (self.folder / CHECKPOINTS).glob("*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    found.append(path)
        return found

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, str) and bool(_DIGEST.fullmatch(digest)) and self._place(digest).is_file()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the digests of all artifacts, sorted."""
        found = (path.name for path in self.folder.glob("??/*"))
        return iter(sorted(name for name in found if _DIGEST.fullmatch(name)))

    def _place(self, digest: str) -> Path:
        # Digests come from users and the network: they must not be able to name any other file.
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise NotFoundError(
                f"{digest!r} is no artifact digest: it has 64 hexadecimal digits in lower case"
            )
        return self.folder / digest[:2] / digest

    @staticmethod
    def _copy(content: bytes | str | os.PathLike[str], target: BinaryIO) -> str:
        """Write the content and return the digest of the bytes written: the source file may change later."""
        if isinstance(content, bytes):
            target.write(content)
            return hashlib.sha256(content).hexdigest()
        hasher = hashlib.sha256()
        with open(content, "rb") as source:
            while chunk := source.read(_CHUNK):
                hasher.update(chunk)
                target.write(chunk)
        return hasher.hexdigest()

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot {verb} the artifacts in {self.folder}: {error}; check that the folder "
                "may be used and the disk has space"
            ) from None
