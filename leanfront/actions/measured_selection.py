"""Budget queries that measure limited metrics on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from leanfront.errors import ArtifactError, CompressionError, EvaluationError, LeanfrontError, StorageError

if TYPE_CHECKING:
    from leanfront.actions.measurer import Measurer
    from leanfront.core.objectives import Selection
    from leanfront.core.storage import FrontierStore

MOST_MEASURED = 16
"""Largest number of candidates that one query measures; each needs an evaluation, which may be slow."""


def measured_selection(
    ask: Callable[[], Selection[Any]],
    store: FrontierStore,
    measurer: Callable[[], Measurer],
    most: int = MOST_MEASURED,
    told: Callable[[int, tuple[str, ...]], None] = lambda candidate, metrics: None,
) -> Selection[Any]:
    """Answer a budget query, and measure candidates that could be a better answer until none is left.

    The most accurate candidates are measured first: with the strategy ``accuracy``, the first that meets the budget
    is the answer, whatever else is not measured.

    Args:
        ask: function that answers from stored measurements.
        store: store of the candidates.
        measurer: function that returns the measurer; called only if something must be measured.
        most: largest number of candidates to measure.
        told: called with the id of a candidate and the metrics before each measurement.

    Returns:
        The answer, with the candidates that are still not measured, and a note with the reason if measuring failed.
    """
    failed: dict[int, str] = {}
    answer = ask()
    for _ in range(most):
        waiting = [each for each in answer.unmeasured if each not in failed]
        if not waiting:
            break
        told(waiting[0], answer.unmeasured_metrics)
        try:
            measurer().measure(store.candidate(waiting[0]), answer.unmeasured_metrics)
        except (EvaluationError, CompressionError, ArtifactError) as error:
            # A fault of this candidate: others can still be measured.
            failed[waiting[0]] = str(error)
        except StorageError:
            # Another runner may have the job, or the database may come back: this says nothing about the candidates.
            raise
        except LeanfrontError as error:
            # The target is missing or cannot be measured this way: the next candidate would fail too.
            return _noted(answer, str(error))
        answer = ask()
    return _noted(answer, next(iter(failed.values()))) if failed else answer


def _noted(answer: Selection[Any], why: str) -> Selection[Any]:
    note = f"not everything could be measured: {why}"
    return replace(answer, note=note if answer.note is None else f"{answer.note}; {note}")
