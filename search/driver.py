"""Driver of one search: asks the study, computes costs, has candidates evaluated, records and tells the results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

import numpy as np
from optuna.trial import Trial

from leanfront.core.compressors import Configuration
from leanfront.core.objectives import Objective, minimisation, nondominated, normalised_hypervolume
from leanfront.core.objectives import objective_values as values_of
from leanfront.core.search.candidate import Candidate, TrialRecord
from leanfront.core.search.evaluation import Evaluation
from leanfront.core.search.evaluator_spec import EvaluatorLostError
from leanfront.core.search.evaluators import Evaluators
from leanfront.core.search.failures import Failures
from leanfront.core.search.latency import cost_measurements
from leanfront.core.search.prepared_target import Prepared
from leanfront.core.search.progress import Progress
from leanfront.core.search.racing import Race
from leanfront.core.search.run import Run
from leanfront.core.search.store_protocol import Store
from leanfront.core.search.study import SearchStudy

RETRIES = 3
"""Number of retries of an evaluation whose process died; after these the candidate fails."""
POLL = 0.5
"""Seconds between two checks whether to stop."""
GRACE = 20.0
"""Seconds that running evaluations get to finish when the driver stops."""


@dataclass
class _Tries:
    """Counter of the lost attempts at an evaluation."""

    lost: int = 0

    def over(self, error: EvaluatorLostError) -> str | None:
        """Count a loss; return the reason to give up, or None to try again."""
        self.lost += error.tries
        return None if self.lost <= RETRIES else f"{error}, {self.lost} times over (out of memory?)"


@dataclass
class _Pending:
    """A trial whose evaluation is not finished."""

    trial: Trial
    choices: Mapping[str, int]
    configuration: Configuration
    tries: _Tries = field(default_factory=_Tries)
    incumbent: int | None = None
    twins: list[tuple[Trial, Mapping[str, int]]] = field(default_factory=list)


@dataclass(frozen=True)
class Member:
    """A frontier member in the driver's memory.

    Args:
        values: objective values in natural units.
        candidate: id of the candidate.
        correct: packed correctness on the validation split, if races need it.
    """

    values: tuple[float, ...]
    candidate: int | None = None
    correct: bytes | None = None


class Front:
    """The frontier in the driver's memory, for the hypervolume and as incumbents of races.

    Args:
        objectives: objectives of the search, in order.
        reference: reference point of the hypervolume.
        recovered: objective values of recovered candidates on the frontier. They count in its size and hypervolume,
            but no candidate races against them: one that loses to them could be recovered too.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        reference: Mapping[str, float],
        recovered: Sequence[Sequence[float]] = (),
    ) -> None:
        self.objectives = tuple(objectives)
        self._reference = dict(reference)
        self._recovered = [tuple(values) for values in recovered]
        self._members: list[Member] = []
        self._volumes: dict[bool, float] = {}

    def __len__(self) -> int:
        if not self._recovered:
            return len(self._members)
        points = [minimisation(self.objectives, values) for values in self._values()]
        return int(nondominated(np.asarray(points)).sum())

    def _values(self) -> list[tuple[float, ...]]:
        return [member.values for member in self._members] + self._recovered

    def add(
        self, values: Sequence[float], candidate: int | None = None, correct: bytes | None = None
    ) -> bool:
        """Add a candidate's values in natural units; return whether it is on the frontier."""
        members = [*self._members, Member(tuple(values), candidate, correct)]
        points = [minimisation(self.objectives, member.values) for member in members]
        mask = nondominated(np.asarray(points))
        if mask[-1]:
            self._members = [member for member, keep in zip(members, mask, strict=True) if keep]
            self._volumes.clear()
        return bool(mask[-1])

    def incumbent(self, costs: Mapping[str, float]) -> Member | None:
        """Return the member that a candidate must beat: the most accurate one that costs no more.

        None if there is no such member, or if accuracy is not the only objective that needs evaluation: only then
        is a candidate dominated that is no more accurate.

        Args:
            costs: measurement name -> cost of the candidate.
        """
        measured = [i for i, objective in enumerate(self.objectives) if not objective.is_cost]
        if [self.objectives[i].measurement for i in measured] != ["accuracy"]:
            return None
        (accuracy,) = measured
        rivals = [
            member
            for member in self._members
            if member.correct is not None
            and all(
                member.values[i] <= costs[objective.measurement]
                for i, objective in enumerate(self.objectives)
                if i != accuracy
            )
        ]
        return max(rivals, key=lambda member: member.values[accuracy], default=None)

    def hypervolume(self, *, log2: bool) -> float:
        """Return the hypervolume of the frontier; it is computed once per frontier."""
        if log2 not in self._volumes:
            self._volumes[log2] = float(
                normalised_hypervolume(self._values(), self.objectives, self._reference, log2=log2)
            )
        return self._volumes[log2]


class Driver:
    """Runs the trials of a search until there are enough or the time is over.

    Args:
        store: store of the search.
        search: name of the stored search.
        prepared: prepared target with its space and costs.
        study: study of that space, rebuilt from `trials`.
        front: frontier so far.
        evaluators: evaluators that run the evaluations.
        trials: stored trials.
        false_elimination: largest share of candidates better than their incumbent that races may stop; 0 for
            no races.
        run: callbacks for progress and files.
        grace: seconds that running evaluations get to finish when the search stops.
        failures: failures of earlier runs.

    Attributes:
        failures: failures of this run and earlier ones.
        stopped_early: whether the search stopped before all was done.
        unmeasured: id -> reason, for candidates that `finalists` could not measure.
    """

    def __init__(
        self,
        store: Store,
        search: str,
        prepared: Prepared,
        study: SearchStudy,
        front: Front,
        evaluators: Evaluators,
        *,
        trials: Sequence[TrialRecord] = (),
        false_elimination: float = 0.0,
        run: Run | None = None,
        grace: float = GRACE,
        failures: Failures | None = None,
    ) -> None:
        self._store = store
        self._search = search
        self._space = prepared.space
        self.failures = failures or Failures(prepared.space)
        self._study = study
        self._costs = prepared.costs
        self._objectives = front.objectives
        self._front = front
        self._evaluators = evaluators
        self._stored = self._goal = len(trials)
        self._stopped = sum(trial.stopped and not trial.duplicate for trial in trials)
        self._false_elimination = false_elimination
        self._run = run or Run()
        self._grace = grace
        self._running: dict[Future[Evaluation], _Pending] = {}
        self._again: deque[_Pending] = deque()
        self.stopped_early = False
        self.unmeasured: dict[int, str] = {}

    def run(
        self, trials: int, deadline: float | None = None, reserve: Callable[[], float] | None = None
    ) -> None:
        """Run until `trials` trials are stored, the deadline passes, or `run.stop` returns true.

        Args:
            trials: wanted number of stored trials.
            deadline: `time.monotonic` time to stop at.
            reserve: called before every trial; returns the seconds to keep free before the deadline.
        """
        self._goal = max(trials, self._stored)
        self._blame()
        while self._running or self._again or self._stored < trials:
            if deadline is not None and time.monotonic() + (reserve() if reserve else 0.0) >= deadline:
                break
            if self._run.stop():
                self._finish_running()
                self.stopped_early = self._stored < trials
                break
            self._fill(trials)
            left = POLL if deadline is None else min(POLL, max(0.0, deadline - time.monotonic()))
            self._collect(wait(self._running, timeout=left, return_when=FIRST_COMPLETED).done)
        for future in self._running:
            future.cancel()
        self._running.clear()
        self._again.clear()

    def _finish_running(self) -> None:
        """Record evaluations that finish in time; the others are asked again, with their numbers, on resume."""
        until = time.monotonic() + self._grace
        while self._running and (left := until - time.monotonic()) > 0:
            self._collect(wait(self._running, timeout=left, return_when=FIRST_COMPLETED).done)

    def _fill(self, trials: int) -> None:
        """Ask for trials until the evaluators are busy."""
        while len(self._running) < self._evaluators.capacity:
            if self._again:
                self._submit(self._again.popleft())
                continue
            waiting = sum(1 + len(pending.twins) for pending in self._running.values())
            if self._stored + waiting >= trials or self._run.stop():
                break
            self._start(*self._study.ask())

    def _start(self, trial: Trial, choices: Mapping[str, int]) -> None:
        choices = self.failures.allowed(choices)
        configuration = self._space.configuration(choices)
        known = self._store.find(self._search, configuration.digest)
        if known is not None:
            self._record(trial, choices, known)
            return
        for pending in self._running.values():
            if pending.configuration == configuration:
                pending.twins.append((trial, choices))
                return
        self._submit(_Pending(trial, choices, configuration))

    def _submit(self, pending: _Pending) -> None:
        race = None
        pending.incumbent = None
        if self._false_elimination > 0:
            incumbent = self._front.incumbent(self._costs.of(pending.configuration))
            if incumbent is not None and incumbent.correct is not None:
                race = Race(incumbent.correct, self._false_elimination)
                pending.incumbent = incumbent.candidate
        future = self._evaluators.submit(pending.configuration, "validation", race)
        self._running[future] = pending

    def _collect(self, done: set[Future[Evaluation]]) -> None:
        for future in done:
            pending = self._running.pop(future)
            try:
                evaluation = future.result()
            except EvaluatorLostError as error:
                reason = pending.tries.over(error)
                if reason is None:
                    self._again.append(pending)
                    continue
                evaluation = Evaluation(reason=reason)
            self._finish(pending, evaluation)

    def _finish(self, pending: _Pending, evaluation: Evaluation) -> None:
        candidate = self._candidate(pending, evaluation)
        correct = evaluation.correct if self._false_elimination > 0 else None
        stored = self._record(pending.trial, pending.choices, candidate, correct)
        if stored.on_frontier and stored.id is not None and evaluation.artifact is not None:
            self._run.keep(stored.id, evaluation.artifact)
        for trial, choices in pending.twins:
            self._record(trial, choices, stored)
        self.failures.add(stored)
        self._blame()

    def _blame(self) -> None:
        if self.failures.due:
            self.failures.blame(self._works)

    def _works(self, configuration: Configuration) -> bool:
        try:
            return self._evaluators.submit(configuration, "validation").result().reason is None
        except EvaluatorLostError:
            return False

    def _candidate(self, pending: _Pending, evaluation: Evaluation) -> Candidate:
        measurements = cost_measurements(self._costs, pending.configuration)
        state, reason = "complete" if evaluation.reason is None else "failed", evaluation.reason
        if evaluation.stopped:
            state = "stopped"
            reason = (
                f"stopped after {evaluation.samples:,} of {evaluation.total:,} samples: cannot beat candidate "
                f"{pending.incumbent}, which costs no more"
            )
        return Candidate(
            search=self._search,
            number=pending.trial.number,
            configuration=pending.configuration,
            state=state,
            reason=reason,
            measurements=measurements + tuple(evaluation.measurements),
            kept=evaluation.kept,
            seconds=evaluation.seconds,
        )

    def _record(
        self, trial: Trial, choices: Mapping[str, int], candidate: Candidate, correct: bytes | None = None
    ) -> Candidate:
        record = TrialRecord(trial.number, dict(choices), self._study.attributes(trial))
        stored = self._store.record(self._search, record, candidate, correct)
        values = objective_values(stored, self._objectives)
        self._study.tell(trial, values)
        if candidate.id is None:
            self._stopped += stored.state == "stopped"
            if values is not None and stored.state == "complete":
                self._enter(values, stored.id, correct)
        self._stored += 1
        self._run.report(self.progress())
        return stored

    def _enter(self, values: Sequence[float], candidate: int | None, correct: bytes | None) -> None:
        if self._front.add(values, candidate, correct):
            self._store.set_hypervolume(
                self._search, self._front.hypervolume(log2=False), self._front.hypervolume(log2=True)
            )

    def progress(self, stage: str = "trials") -> Progress:
        """Return the progress of the search."""
        return Progress(
            self._stored,
            self._goal,
            len(self._front),
            self._front.hypervolume(log2=False),
            self._front.hypervolume(log2=True),
            stage,
            self._stopped,
        )

    def finalists(self, split: str) -> int:
        """Measure the frontier's members on another split; return how many were measured.

        The search never sees that split: its results are only reported. Members that cannot be measured are listed
        in `unmeasured`.
        """
        waiting = deque(
            (candidate, _Tries())
            for candidate in self._store.frontier(self._search)
            if not any(measurement.split == split for measurement in candidate.measurements)
        )
        count = 0
        running: dict[Future[Evaluation], tuple[Candidate, _Tries]] = {}
        until: float | None = None
        while waiting or running:
            if until is None and self._run.stop():
                until = time.monotonic() + self._grace
            if until is not None and (not running or time.monotonic() >= until):
                self.stopped_early = True
                break
            while until is None and waiting and len(running) < self._evaluators.capacity:
                candidate, tries = waiting.popleft()
                running[self._evaluators.submit(candidate.configuration, split)] = candidate, tries
            for future in wait(running, timeout=POLL, return_when=FIRST_COMPLETED).done:
                candidate, tries = running.pop(future)
                try:
                    evaluation = future.result()
                except EvaluatorLostError as error:
                    reason = tries.over(error)
                    if reason is None:
                        waiting.append((candidate, tries))
                        continue
                    evaluation = Evaluation(reason=reason)
                count += self._measured(candidate, evaluation)
        for future in running:
            future.cancel()
        return count

    def _measured(self, candidate: Candidate, evaluation: Evaluation) -> bool:
        assert candidate.id is not None
        if evaluation.reason is None:
            self._store.add_measurements(candidate.id, list(evaluation.measurements))
        else:
            self.unmeasured[candidate.id] = evaluation.reason
        self._run.report(self.progress("test"))
        return evaluation.reason is None


def objective_values(candidate: Candidate, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Return a candidate's objective values in natural units; they are estimates if it was stopped.

    None if the candidate failed or a value is missing.
    """
    return None if candidate.state == "failed" else values_of(objectives, candidate.measurements)[0]
