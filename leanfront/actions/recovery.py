"""Recovery of stored candidates, for the command line, Python and workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def settings_of(epochs: int, seed: int = 0, **others: Any) -> Recovery:
    """Return the settings of a training, from options as a user gives them.

    Args:
        epochs: passes over the training split.
        seed: seed of every random choice.
        others: other fields of `leanfront.core.compressors.Recovery`; None means the default.

    Raises:
        UsageError: a field is unknown or its value is invalid.
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
    """Refuse a time that is not positive. Raises `UsageError`."""
    if minutes is not None and not 0 < minutes < float("inf"):
        raise UsageError(f"minutes must be positive, not {minutes}")


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
    require_minutes(minutes)
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
    require_minutes(minutes)
    with interruptible() as asked:
        return list(
            recoverer.promote(pool, settings, minutes=minutes, most=most, all=all, report=report, stop=asked)
        )


def prediction_json(recoverer: Recoverer, settings: Recovery) -> dict[str, Any]:
    """Return how well gains were predicted so far: number of outcomes, and leave-one-out error."""
    from leanfront.core.search import Predictor

    predictor = Predictor(recoverer.outcomes(settings))
    return {"points": len(predictor.outcomes), "error": predictor.error}
