"""The records a search makes: candidates, trials, and the search itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.objectives.measurement import Measurement

ENDED = ("done", "failed", "cancelled")
"""States of a search or job that nobody drives, unless it is queued again."""
STATES = ("queued", "running", *ENDED)
"""States of a search or job."""
CANDIDATE_STATES = ("complete", "failed", "stopped")
Stage = Literal["before", "after"]
"""Stage of a frontier: among the candidates before recovery, or among all, the recovered ones too."""
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class Candidate:
    """An evaluated configuration with its measurements.

    Args:
        id: the store's number; None before it is stored.
        search: name of the search.
        number: number of the trial that made it.
        configuration: what was evaluated.
        state: one of `CANDIDATE_STATES`; a ``stopped`` one lost its race before the split was over.
        reason: why it failed or was stopped; None when complete.
        measurements: costs (``split == ""``) and metrics per split; the metrics of a stopped candidate are
            estimates from the `Measurement.count` samples it saw.
        kept: channel group -> indices of the kept units, as resolved when it was evaluated.
        on_frontier: whether no stored candidate of its search, recovered ones included, dominates it.
        parent: id of the candidate it was recovered from, or None.
        seconds: wall-clock seconds of its evaluation.
        verified: whether all that is claimed of it was found in its artifact; None while nobody has looked.
    """

    search: str
    number: int
    configuration: Configuration
    state: str = "complete"
    reason: str | None = None
    measurements: tuple[Measurement, ...] = ()
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    on_frontier: bool = False
    parent: int | None = None
    seconds: float = 0.0
    id: int | None = None
    verified: bool | None = None

    def measurement(self, name: str, split: str | None = None) -> Measurement | None:
        """The measurement of that name; without `split` the cost or the validation one."""
        splits = ("", "validation") if split is None else (split,)
        for measurement in self.measurements:
            if measurement.name == name and measurement.split in splits:
                return measurement
        return None

    def value(self, name: str, split: str | None = None) -> float | None:
        """The value of `measurement`, or None where it was not measured."""
        found = self.measurement(name, split)
        return None if found is None else found.value

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy on the validation split, in [0, 1]."""
        return self.value("accuracy")

    @property
    def memory_bytes(self) -> float | None:
        """Bytes of the packed parameters."""
        return self.value("memory_bytes")

    @property
    def macs(self) -> float | None:
        """Multiply-adds of one input (fvcore's convention)."""
        return self.value("macs")

    @property
    def file_bytes(self) -> float | None:
        """Bytes of the whole artifact, header included."""
        return self.value("file_bytes")

    def to_json(self) -> dict[str, Any]:
        """The CANDIDATE object of the command line and the API."""
        accuracy = self.measurement("accuracy")
        return {
            "id": self.id,
            "search": self.search,
            "trial": self.number,
            "state": self.state,
            "reason": self.reason,
            "configuration": self.configuration.to_json(),
            "accuracy": None if accuracy is None else accuracy.value,
            "accuracy_low": None if accuracy is None else accuracy.low,
            "accuracy_high": None if accuracy is None else accuracy.high,
            "memory_bytes": _whole(self.memory_bytes),
            "macs": _whole(self.macs),
            "file_bytes": _whole(self.file_bytes),
            "on_frontier": self.on_frontier,
            "parent": self.parent,
            "seconds": self.seconds,
            "verified": self.verified,
            "measurements": [measurement.to_json() for measurement in self.measurements],
        }


def _whole(value: float | None) -> int | float | None:
    """Bytes and MACs are counts: print them without a decimal point."""
    return int(value) if value is not None and float(value).is_integer() else value


@dataclass(frozen=True)
class TrialRecord:
    """One trial of the study as it must be told again when the study is rebuilt.

    Args:
        number: Optuna's trial number.
        parameters: parameter name -> integer index on its grid.
        attributes: the sampler's system attributes of the trial (JSON).
        candidate: the candidate's id (several trials may share one: duplicates).
        values: the objectives' values in natural units, estimates where `stopped`; None for a failed candidate.
        duplicate: whether an earlier trial made the candidate.
        stopped: whether the candidate lost its race: it is told to the study but is never on the frontier.
    """

    number: int
    parameters: Mapping[str, int]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    candidate: int | None = None
    values: tuple[float, ...] | None = None
    duplicate: bool = False
    stopped: bool = False


@dataclass(frozen=True)
class SearchRecord:
    """One search: what it searches, how, and how far it is.

    Args:
        name: unique name.
        target: the target's reference as typed (``digits``, ``file.py:function``).
        fingerprint: the target's fingerprint; a resumed search refuses another.
        objectives: names of the objectives in order (``accuracy``, ``memory``, ...).
        reference: hypervolume reference, objective name -> value in natural units; frozen at creation.
        settings: everything else needed to go on (space, sampler, criterion, splits' sizes), JSON.
        dense: the dense model's measurements.
        coverage: the coverage report, JSON.
        artifact: content hash of the stored dense weights, or None.
        state: one of `STATES`.
        message: why it ended, for people.
        trials: number of stored trials.
        frontier_size: number of frontier members.
        hypervolume: of the frontier with costs divided by the reference.
        hypervolume_log2: of the frontier with costs as log2(reference / cost).
        created: ISO 8601 time in UTC, set by the store.
        id: the store's number; None before it is stored.
        frontier_version: grows with every change of the frontier, and of what is measured on stored candidates.
    """

    name: str
    target: str
    fingerprint: str
    objectives: tuple[str, ...]
    reference: Mapping[str, float]
    settings: Mapping[str, Any]
    seed: int = 0
    dense: tuple[Measurement, ...] = ()
    coverage: Mapping[str, Any] = field(default_factory=dict)
    artifact: str | None = None
    state: str = "running"
    message: str | None = None
    trials: int = 0
    frontier_size: int = 0
    hypervolume: float = 0.0
    hypervolume_log2: float = 0.0
    created: str = ""
    id: int | None = None
    frontier_version: int = 0

    @property
    def prepared(self) -> bool:
        """Whether a driver has seen its target; a queued search is known by its request alone."""
        return bool(self.fingerprint)

    @property
    def registered(self) -> str | None:
        """The operator's name for its target; None where a user named the target by a reference."""
        return self.settings.get("registered")

    @property
    def goal(self) -> int:
        """Number of trials wanted."""
        return int(self.settings.get("trials", 0))

    def to_json(self) -> dict[str, Any]:
        """One row of ``leanfront searches --json``."""
        return {
            "name": self.name,
            # Behind an operator's name may be a path, which is no business of those who ask over the network.
            "target": self.registered or self.target,
            "state": self.state,
            "message": self.message,
            "objectives": list(self.objectives),
            "trials": self.trials,
            "frontier_size": self.frontier_size,
            "hypervolume": self.hypervolume,
            "hypervolume_log2": self.hypervolume_log2,
            "created": self.created,
        }
