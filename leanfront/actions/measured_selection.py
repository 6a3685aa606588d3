"""Budget queries that measure on demand: what is limited but not measured on a candidate is measured then."""

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
"""Candidates that one query measures at most: each is an evaluation, of some metrics a long one."""


def measured_selection(
    ask: Callable[[], Selection[Any]],
    store: FrontierStore,
    measurer: Callable[[], Measurer],
    most: int = MOST_MEASURED,
    told: Callable[[int, tuple[str, ...]], None] = lambda candidate, metrics: None,
) -> Selection[Any]:
    """Answer a budget query, and measure what could be a better answer until nothing could or enough was measured.

    The most accurate are measured first: of the strategy ``accuracy`` the first that holds the budget is the answer,
    whatever else is not measured.

    Args:
        ask: answers from what is stored.
        store: where the candidates are.
        measurer: gives what measures them; asked where something is to be measured.
        most: candidates to measure.
        told: told before each.

    Returns:
        The answer; it names those that are still not measured, and its note why, where they cannot be.
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
            # The candidate's own fault: others can be measured all the same.
            failed[waiting[0]] = str(error)
        except StorageError:
            # Another runner's job by now, or a database that may be back: nothing that is said of candidates.
            raise
        except LeanfrontError as error:
            # The target is not at hand, or cannot be measured so: neither can the next one.
            return _noted(answer, str(error))
        answer = ask()
    return _noted(answer, next(iter(failed.values()))) if failed else answer


def _noted(answer: Selection[Any], why: str) -> Selection[Any]:
    note = f"not everything could be measured: {why}"
    return replace(answer, note=note if answer.note is None else f"{answer.note}; {note}")
