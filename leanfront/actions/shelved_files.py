"""Files of candidates in the artifact folder, for recovery."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from leanfront.core.compressors import Recovery
from leanfront.core.compressors.exchange.formats import PACKED
from leanfront.core.compressors.statistics.cache import content_key
from leanfront.core.search import Candidate
from leanfront.core.storage import FrontierStore, Shelf
from leanfront.errors import NotFoundError, StorageError


class ShelvedFiles:
    """Files of candidates in the artifact folder, as `leanfront.core.search.recovering` uses them.

    Args:
        store: store of the candidates.
        shelf: shelf that keeps the files.
    """

    def __init__(self, store: FrontierStore, shelf: Shelf) -> None:
        self._store, self._shelf = store, shelf

    def packed(self, candidate: Candidate) -> bytes | None:
        """Return the kept packed file of a candidate; None if it is missing or damaged."""
        assert candidate.id is not None
        record = self._shelf.find(candidate.id, PACKED)
        if record is None:
            return None
        try:
            content = self._shelf.folder.read(record.digest)
        except NotFoundError:
            return None
        return content if hashlib.sha256(content).hexdigest() == record.digest else None

    def checkpoint(self, candidate: Candidate, settings: Recovery) -> Path:
        """Return the path of the checkpoint of a candidate's training with these settings."""
        key = content_key(repr(sorted(settings.to_json().items())))[:16]
        return self._shelf.folder.checkpoint(f"{candidate.id}-{key}.safetensors")

    def add(self, candidate: Candidate, content: bytes | None) -> Candidate:
        """Store a recovered candidate together with its packed file, or return the stored one."""
        if content is None:
            return self._store.add_recovered(candidate)
        # The file first: a process that dies in between leaves a stray file, never a candidate without its file.
        digest = self._shelf.folder.put(content)
        stored: Candidate | None = None
        try:
            stored = self._store.add_recovered(
                candidate, lambda session, identifier: self._shelf.link(session, identifier, PACKED, content)
            )
        finally:
            known = None if stored is None or stored.id is None else self._shelf.find(stored.id, PACKED)
            if known is None or known.digest != digest:
                with suppress(StorageError):
                    self._shelf.discard([digest])
        return stored
