"""Recovering stored candidates, for the command line, Python and workers alike."""

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
    """For recoveries of which nobody is told how far they are."""


def settings_of(epochs: int, seed: int = 0, **others: Any) -> Recovery:
    """Settings of a training as a user says them.

    Args:
        epochs: passes over the training split.
        seed: of everything random.
        others: further ones of `leanfront.core.compressors.Recovery`; those that are None have their default.

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
    report: Report = _untold,
    stop: Callable[[], bool] = lambda: False,
) -> Attempt:
    """Recover a candidate.

    Args:
        recoverer: of its search.
        candidate: stored.
        settings: of the training.
        minutes: that it may take.
        report: told after every step.
        stop: asked often; once true the training is left with a checkpoint.

    Raises:
        KeyboardInterrupt: Ctrl-C; a checkpoint is left, from which the same call goes on.
        LeanfrontError: it cannot be recovered.
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
    """Recover candidates, the most promising first; arguments and errors as `Recoverer.promote` and `recover_one`."""
    require_minutes(minutes)
    with interruptible() as asked:
        return list(
            recoverer.promote(pool, settings, minutes=minutes, most=most, all=all, report=report, stop=asked)
        )


def prediction_json(recoverer: Recoverer, settings: Recovery) -> dict[str, Any]:
    """How well gains of such trainings were predicted so far: outcomes, and the error with each left out."""
    from leanfront.core.search import Predictor

    predictor = Predictor(recoverer.outcomes(settings))
    return {"points": len(predictor.outcomes), "error": predictor.error}
