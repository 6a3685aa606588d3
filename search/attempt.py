"""What came of recovering a candidate, and what is stored of it with the recovered one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from leanfront.core.compressors import Epoch, Recovery
from leanfront.core.compressors.training.progress import Progress as Training
from leanfront.core.search.candidate import Candidate, SearchRecord
from leanfront.errors import UsageError

BEFORE = "accuracy_before"
"""Validation accuracy of what went in; this and the next ones are stored with a recovered candidate."""
MINUTES = "recovery_minutes"
LIMIT = "recovery_minutes_limit"
PREDICTED = "recovery_gain_predicted"
PREDICTED_MINUTES = "recovery_minutes_predicted"
OWN = (BEFORE, MINUTES, LIMIT, PREDICTED, PREDICTED_MINUTES)


@dataclass(frozen=True)
class RecoveryProgress:
    """How far recoveries are.

    Args:
        parent: id of the candidate that is trained.
        done: candidates recovered before it, in this run.
        training: of this one.
    """

    parent: int
    done: int
    training: Training


@dataclass(frozen=True)
class Attempt:
    """What came of recovering a candidate.

    Args:
        parent: the candidate.
        candidate: what is stored of it: failed where nothing was gained, None where the training was stopped, ran
            out of time before it was measured, or failed.
        found: whether it was stored before.
        ended: as `leanfront.core.compressors.Recovered.ended`; ``found``, or ``failed``.
        epochs: that were measured.
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
        """The recovered candidate, where there is one that is better than its parent."""
        found = self.candidate
        return found if found is not None and found.state == "complete" else None

    @property
    def gain(self) -> float | None:
        """Validation accuracy after less before; 0 where nothing was gained, None where it is not known."""
        return None if self.candidate is None else gain_of(self.candidate)

    def to_json(self) -> dict[str, Any]:
        """One recovery of ``leanfront recover --json``."""
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
    """What a recovered candidate has gained in validation accuracy; 0 where it failed to, None where unknown."""
    before, after = recovered.value(BEFORE), recovered.accuracy
    if before is None or recovered.value(MINUTES) is None:
        return None
    return 0.0 if recovered.state == "failed" or after is None else after - before


def last_training(child: Candidate) -> Recovery:
    """How a recovered candidate was trained last."""
    return Recovery.from_json(child.configuration.recovery[-1])


def uncut(settings: Recovery) -> Recovery:
    """Settings of a training that ended by time, as they were asked for."""
    return replace(settings, steps=None)


def require_recoverable(candidate: Candidate, record: SearchRecord) -> None:
    """Refuse what cannot be recovered.

    Raises:
        UsageError: it failed, nothing was done to it, or its search's target has no training data.
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
