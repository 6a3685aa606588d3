"""Recovering stored candidates, from the command line, Python and workers alike: with their files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from leanfront.actions.candidate_files import PACKED
from leanfront.core.compressors import OPTIMISERS, Recovery
from leanfront.core.compressors.statistics.cache import content_key
from leanfront.core.search import Attempt, Candidate, Predictor, Recoverer
from leanfront.core.search.interrupting import interruptible
from leanfront.core.storage import FrontierStore, Shelf
from leanfront.errors import ConfigurationError, NotFoundError, StorageError, UsageError
from leanfront.reports.progress import trained


class ShelvedFiles:
    """Files of candidates in the artifact folder, as `leanfront.core.search.recovering` needs them.

    Args:
        store: where candidates are.
        shelf: where files are kept.
    """

    def __init__(self, store: FrontierStore, shelf: Shelf) -> None:
        self._store, self._shelf = store, shelf

    def packed(self, candidate: Candidate) -> bytes | None:
        """The packed file that is kept of a candidate, or None where none is, or it is damaged."""
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
        """Where the training of a candidate with these settings says how far it is."""
        key = content_key(repr(sorted(settings.to_json().items())))[:16]
        return self._shelf.folder.checkpoint(f"{candidate.id}-{key}.safetensors")

    def add(self, candidate: Candidate, content: bytes | None) -> Candidate:
        """Store a recovered candidate with its packed file, both or neither; or the one that is stored already."""
        if content is None:
            return self._store.add_recovered(candidate)
        # The file first: who dies before the row names it leaves a stray one, and never a candidate without its file.
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


def settings_of(epochs: int, seed: int = 0, **others: Any) -> Recovery:
    """Settings of a training as a user says them.

    Args:
        epochs: passes over the training split.
        seed: of everything random.
        others: further ones of `compressors.Recovery`; those that are None have their default.

    Raises:
        UsageError: one that there is not, or a value that cannot be used.
    """
    given = {name: value for name, value in others.items() if value is not None}
    try:
        settings = Recovery(epochs=epochs, seed=seed, **given)
    except (ConfigurationError, TypeError) as error:
        raise UsageError(str(error)) from None
    if settings.optimiser not in OPTIMISERS:
        raise UsageError(f"unknown optimiser '{settings.optimiser}'; known: {', '.join(OPTIMISERS)}")
    return settings


def require_minutes(minutes: float | None) -> None:
    """Refuse a time that is none. Raises `UsageError`."""
    if minutes is not None and not 0 < minutes < float("inf"):
        raise UsageError(f"minutes must be positive, not {minutes}")


def recover_one(
    recoverer: Recoverer,
    candidate: Candidate,
    settings: Recovery,
    minutes: float | None,
    *,
    progress: bool,
    stop: Callable[[], bool] = lambda: False,
) -> Attempt:
    """Recover a candidate.

    Raises:
        KeyboardInterrupt: Ctrl-C; a checkpoint is left, from which the same call goes on.
        LeanfrontError: it cannot be recovered.
    """
    require_minutes(minutes)
    seconds = None if minutes is None else 60 * minutes
    with interruptible() as asked, trained(shown=progress) as report:
        return recoverer.recover(
            candidate,
            settings,
            minutes=minutes,
            seconds=seconds,
            report=report,
            stop=lambda: asked() or stop(),
        )


def recover_many(
    recoverer: Recoverer,
    pool: Sequence[Candidate],
    settings: Recovery,
    minutes: float | None,
    *,
    all: bool,
    most: int | None = None,
    progress: bool,
) -> list[Attempt]:
    """Recover candidates, the most promising first; arguments and errors as `Recoverer.promote` and `recover_one`."""
    require_minutes(minutes)
    with interruptible() as asked, trained(shown=progress) as report:
        return list(
            recoverer.promote(pool, settings, minutes=minutes, most=most, all=all, report=report, stop=asked)
        )


def prediction_json(recoverer: Recoverer, settings: Recovery) -> dict[str, Any]:
    """How well gains of such trainings were predicted so far: outcomes, and the error with each left out."""
    predictor = Predictor(recoverer.outcomes(settings))
    return {"points": len(predictor.outcomes), "error": predictor.error}
