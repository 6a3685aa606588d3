"""Records of a search: candidates, trials, and the search itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.objectives.measurement import Measurement
from leanfront.core.search.options import SearchOptions

ENDED = ("done", "failed", "cancelled")
"""States in which no process drives a search or job, unless it is queued again."""
STATES = ("queued", "running", *ENDED)
"""States of a search or job."""
CANDIDATE_STATES = ("complete", "failed", "stopped")
Stage = Literal["before", "after"]
"""Stage of a frontier: among candidates before recovery, or among all, including recovered ones."""
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class Candidate:
    """An evaluated configuration with its measurements.

    Args:
        id: id in the store; None before it is stored.
        search: name of the search.
        number: number of its trial.
        configuration: the evaluated configuration.
        state: one of `CANDIDATE_STATES`; a ``stopped`` one lost its race before the end of the split.
        reason: why it failed or was stopped; None when complete.
        measurements: costs (``split == ""``) and metrics per split; the metrics of a stopped candidate are
            estimates from the `Measurement.count` samples it saw.
        kept: channel group -> indices of the kept units, as resolved when it was evaluated.
        on_frontier: whether no stored candidate of its search, recovered ones included, dominates it.
        parent: id of the candidate from which it was recovered, or None.
        seconds: wall-clock seconds of its evaluation.
        verified: whether every claim about it holds in its artifact; None if not verified yet.
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
        """Return the measurement with a name; without `split`, the cost or the value on the validation split."""
        splits = ("", "validation") if split is None else (split,)
        for measurement in self.measurements:
            if measurement.name == name and measurement.split in splits:
                return measurement
        return None

    def value(self, name: str, split: str | None = None) -> float | None:
        """Return the value of `measurement`, or None if it was not measured."""
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
        """Multiply-adds per input, in fvcore's convention."""
        return self.value("macs")

    @property
    def file_bytes(self) -> float | None:
        """Bytes of the whole artifact, header included."""
        return self.value("file_bytes")

    def to_json(self) -> dict[str, Any]:
        """Return the CANDIDATE object of the command line and the API."""
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
    """Return a count as an integer, so that it is printed without a decimal point."""
    return int(value) if value is not None and float(value).is_integer() else value


@dataclass(frozen=True)
class TrialRecord:
    """A trial of the study, with what is needed to rebuild the study.

    Args:
        number: Optuna's trial number.
        parameters: parameter name -> integer index on its grid.
        attributes: system attributes that the sampler gave the trial (JSON).
        candidate: id of the candidate, which several trials may share (duplicates).
        values: objective values in natural units, estimates if `stopped`; None for a failed candidate.
        duplicate: whether an earlier trial made the candidate.
        stopped: whether the candidate lost its race; it is told to the study but never on the frontier.
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
    """A search: its target, its settings and its progress.

    Args:
        name: unique name.
        target: reference of the target as the user gave it (``digits``, ``file.py:function``).
        fingerprint: fingerprint of the target; a resumed search refuses any other.
        objectives: names of the objectives in order (``accuracy``, ``memory``, ...).
        reference: hypervolume reference, objective name -> value in natural units; frozen at creation.
        settings: JSON: ``options``, the search's options, and what its target told: predicted losses, parameters of
            the space, cheapest costs, latency table, classes, metrics, sizes of the splits, digests of its parts.
        dense: measurements of the dense model.
        coverage: the coverage report, JSON.
        artifact: SHA-256 of the stored dense weights, or None.
        state: one of `STATES`.
        message: why it ended, as text.
        trials: number of stored trials.
        frontier_size: number of frontier members.
        hypervolume: hypervolume of the frontier, costs divided by the reference.
        hypervolume_log2: the same with costs as log2(reference / cost).
        created: ISO 8601 time in UTC, set by the store.
        id: id in the store; None before it is stored.
        frontier_version: number that grows with every change of the frontier and of stored measurements.
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
        """Whether a driver has loaded its target; a queued search consists of its request only."""
        return bool(self.fingerprint)

    @property
    def digests(self) -> Mapping[str, str] | None:
        """Digests of the target's parts, or None if an old release made the search."""
        return self.settings.get("digests")

    @property
    def registered(self) -> str | None:
        """Name under which the operator registered its target; None if a user gave a reference."""
        return self.settings.get("registered")

    @property
    def goal(self) -> int:
        """Requested number of trials."""
        return int(self.settings.get("options", {}).get("trials", 0))

    @property
    def options(self) -> SearchOptions:
        """Options of the search, as stored."""
        return SearchOptions.read(self.settings["options"])

    def to_json(self) -> dict[str, Any]:
        """Return one row of ``leanfront searches --json``."""
        return {
            "name": self.name,
            # A registered target may be a path, which clients over the network need not know.
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
