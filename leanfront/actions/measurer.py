"""Measurement of stored candidates by further metrics."""

from __future__ import annotations

from collections.abc import Sequence

from leanfront.actions.candidate_files import CandidateFiles
from leanfront.core.compressors.structure.folding import fold
from leanfront.core.objectives.metrics import require_metrics
from leanfront.core.search import Candidate
from leanfront.core.storage import FrontierStore
from leanfront.errors import UsageError

SPLIT = "validation"
"""The split that limits refer to, on which metrics are measured."""


class Measurer:
    """Measures candidates of one search and stores the results.

    Args:
        store: store of the search.
        files: files of its candidates.
    """

    def __init__(self, store: FrontierStore, files: CandidateFiles) -> None:
        self._store = store
        self._files = files

    def measure(self, candidate: Candidate, names: Sequence[str]) -> Candidate:
        """Measure the metrics that a candidate lacks, and return the candidate.

        Args:
            candidate: a stored, complete candidate.
            names: names of metrics.

        Raises:
            UsageError: a metric is unknown, or the candidate is not complete.
            EvaluationError: the candidate cannot be measured.
        """
        require_metrics(names)
        if candidate.state != "complete" or candidate.id is None:
            raise UsageError(
                f"candidate {candidate.id} is {candidate.state}: only complete ones are measured"
            )
        missing = [name for name in names if candidate.measurement(name, SPLIT) is None]
        if not missing:
            return candidate
        evaluator = self._files.evaluator
        module = self._files.module(candidate, str(evaluator.device))
        if module is None:
            module = evaluator.compressor.materialise(candidate.configuration).module
        fold(module, evaluator.compressor.context.foldable)
        return self._store.add_measurements(candidate.id, evaluator.measure(module, SPLIT, missing))
