"""Where evaluations run: in this process, or elsewhere (`search/pool.py`, `search/cluster.py`)."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from leanfront.core.compressors import Configuration
from leanfront.core.search.evaluation import Evaluation, Evaluator
from leanfront.core.search.racing import Race


class Evaluators(Protocol):
    """Runs evaluations and says how many at once. What dies is replaced."""

    @property
    def capacity(self) -> int:
        """Evaluations that run at once; may change while a search runs."""
        ...

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        """Start an evaluation; with a race it ends when that is lost.

        The future raises EvaluatorLostError when what ran it is gone. Cancelling it drops its result.

        Raises:
            EvaluationError: nothing can be evaluated any more.
        """
        ...

    def close(self) -> None:
        """Stop; what runs is abandoned."""
        ...


class LocalEvaluators:
    """One evaluation at a time, in this process: nothing to start, nothing to pickle."""

    capacity = 1

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        """Evaluate now; the future is done when this returns."""
        future: Future[Evaluation] = Future()
        future.set_result(self._evaluator.evaluate(configuration, split, race))
        return future

    def close(self) -> None:
        """Nothing to stop."""
