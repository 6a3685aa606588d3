"""Results of recovering a candidate, and the facts stored with a recovered candidate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from leanfront.core.compressors import Epoch, Recovery
from leanfront.core.compressors.training.progress import Progress as Training
from leanfront.core.search.candidate import Candidate, SearchRecord
from leanfront.errors import UsageError

BEFORE = "accuracy_before"
"""Measurement of the parent's validation accuracy; it and those below are stored with a recovered candidate."""
MINUTES = "recovery_minutes"
LIMIT = "recovery_minutes_limit"
PREDICTED = "recovery_gain_predicted"
PREDICTED_MINUTES = "recovery_minutes_predicted"
OWN = (BEFORE, MINUTES, LIMIT, PREDICTED, PREDICTED_MINUTES)


@dataclass(frozen=True)
class RecoveryProgress:
    """Progress of recoveries.

    Args:
        parent: id of the candidate being trained.
        done: number of candidates recovered before it in this run.
        training: progress of this training.
    """

    parent: int
    done: int
    training: Training


@dataclass(frozen=True)
class Attempt:
    """Result of recovering a candidate.

    Args:
        parent: the candidate.
        candidate: the stored candidate, failed if nothing was gained; None if the training failed, was stopped, or
            ran out of time before it was measured.
        found: whether it was already stored.
        ended: as `leanfront.core.compressors.Recovered.ended`; or ``found``, or ``failed``.
        epochs: number of measured epochs.
        error: why the training failed.
    """

    parent: Candidate
    candidate: Candidate | None
    found: bool = False
    ended: str = "found"
    epochs: tuple[Epoch, ...] = ()
    error: str | None = None

    @property
    def gained(self) -> Candidate | None:
        """The recovered candidate if it is better than its parent, otherwise None."""
        found = self.candidate
        return found if found is not None and found.state == "complete" else None

    @property
    def gain(self) -> float | None:
        """Validation accuracy after minus before; 0 if nothing was gained, None if unknown."""
        return None if self.candidate is None else gain_of(self.candidate)

    def to_json(self) -> dict[str, Any]:
        """Return one recovery of ``leanfront recover --json``."""
        own = self.candidate
        predicted = None if own is None else own.measurement(PREDICTED)
        return {
            "parent": self.parent.id,
            "candidate": None if self.gained is None else self.gained.to_json(),
            "found": self.found,
            "ended": self.ended,
            "error": self.error if own is None or own.state == "complete" else own.reason,
            "accuracy_before": self.parent.accuracy if own is None else own.value(BEFORE),
            "accuracy_after": None if self.gained is None else self.gained.accuracy,
            "gain": self.gain,
            "minutes": None if own is None else own.value(MINUTES),
            "predicted": None
            if own is None or predicted is None
            else {
                "gain": predicted.value,
                "low": predicted.low,
                "high": predicted.high,
                "points": predicted.count,
                "minutes": own.value(PREDICTED_MINUTES),
            },
            "epochs": [
                {"epoch": each.number, "loss": each.loss, "accuracy": each.accuracy, "seconds": each.seconds}
                for each in self.epochs
            ],
        }


def gain_of(recovered: Candidate) -> float | None:
    """Return a recovered candidate's gain in validation accuracy; 0 if it failed to gain, None if unknown."""
    before, after = recovered.value(BEFORE), recovered.accuracy
    if before is None or recovered.value(MINUTES) is None:
        return None
    return 0.0 if recovered.state == "failed" or after is None else after - before


def last_training(child: Candidate) -> Recovery:
    """Return the settings of a recovered candidate's latest training."""
    return Recovery.from_json(child.configuration.recovery[-1])


def uncut(settings: Recovery) -> Recovery:
    """Return the requested settings of a training that ran out of time."""
    return replace(settings, steps=None)


def require_recoverable(candidate: Candidate, record: SearchRecord) -> None:
    """Refuse a candidate that cannot be recovered.

    Raises:
        UsageError: it failed, it is the dense model, or the target of its search has no training data.
    """
    if candidate.state == "failed":
        raise UsageError(f"candidate {candidate.id} failed, there is nothing to recover: {candidate.reason}")
    if candidate.configuration.is_dense:
        raise UsageError(f"candidate {candidate.id} is the dense model: there is nothing to recover")
    if "train" not in record.settings.get("splits", {}):
        raise UsageError(
            f"the target of search '{record.name}' has no train split, from which recovery learns: search a target "
            "with Target(train=...), or data with train/"
        )
