"""Recovery of stored candidates, for the command line, Python and workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from leanfront.core.compressors import OPTIMISERS, Recovery
from leanfront.core.search import Attempt, Candidate, RecoveryProgress
from leanfront.core.search.interrupting import interruptible
from leanfront.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from leanfront.core.search import Recoverer

Report = Callable[[RecoveryProgress], None]


def _untold(progress: RecoveryProgress) -> None:
    """Ignore the progress of a recovery."""


def settings_of(given: Mapping[str, Any]) -> Recovery:
    """Return the settings of a training from values given by name.

    Raises:
        UsageError: a name is unknown, or a value is invalid.
    """
    try:
        settings = Recovery.read(given)
    except ConfigurationError as error:
        raise UsageError(str(error)) from None
    if settings.optimiser not in OPTIMISERS:
        raise UsageError(f"unknown optimiser '{settings.optimiser}'; known: {', '.join(OPTIMISERS)}")
    return settings


def recover_one(
    recoverer: Recoverer,
    candidate: Candidate,
    settings: Recovery,
    minutes: float | None,
    *,
    report: Report = _untold,
    stop: Callable[[], bool] = lambda: False,
) -> Attempt:
    """Recover one candidate.

    Args:
        recoverer: recoverer of its search.
        candidate: a stored candidate.
        settings: settings of the training.
        minutes: time limit.
        report: called after every step.
        stop: called often; when it returns true, the training stops and leaves a checkpoint.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint is left, from which the same call continues.
        LeanfrontError: the candidate cannot be recovered.
    """
    seconds = None if minutes is None else 60 * minutes
    with interruptible() as asked:
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
    report: Report = _untold,
) -> list[Attempt]:
    """Recover candidates, the most promising first; see `Recoverer.promote` and `recover_one`."""
    with interruptible() as asked:
        return list(
            recoverer.promote(pool, settings, minutes=minutes, most=most, all=all, report=report, stop=asked)
        )


def prediction_json(recoverer: Recoverer, settings: Recovery) -> dict[str, Any]:
    """Return how well gains were predicted so far: number of outcomes and leave-one-out error."""
    from leanfront.core.search import Predictor

    predictor = Predictor(recoverer.outcomes(settings))
    return {"points": len(predictor.outcomes), "error": predictor.error}
