"""Interface of evaluators, and the one in this process; others are in `search/pool.py` and `search/cluster.py`."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from leanfront.core.compressors import Configuration
from leanfront.core.search.evaluation import Evaluation, Evaluator
from leanfront.core.search.racing import Race


class Evaluators(Protocol):
    """Runs evaluations, several at once if it can. Processes that die are replaced."""

    @property
    def capacity(self) -> int:
        """Number of evaluations that run at once; may change during a search."""
        ...

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        """Start an evaluation, which ends early if its race is lost.

        The future raises `EvaluatorLostError` if the process that ran it died. Cancelling it drops the result.

        Raises:
            EvaluationError: nothing can be evaluated any more.
        """
        ...

    def close(self) -> None:
        """Stop, and abandon running evaluations."""
        ...


class LocalEvaluators:
    """Runs one evaluation at a time in this process: nothing to start, nothing to pickle."""

    capacity = 1

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        """Evaluate now; the returned future is done."""
        future: Future[Evaluation] = Future()
        future.set_result(self._evaluator.evaluate(configuration, split, race))
        return future

    def close(self) -> None:
        """Do nothing."""
