"""Recovery of a search's candidates: train, measure like any other candidate, and store with the file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from leanfront.core.compressors import Compressed, Recovered, Recovery, compressed_of
from leanfront.core.compressors import recover as train
from leanfront.core.compressors.artifact.packed_file import read, write
from leanfront.core.compressors.structure.folding import fold
from leanfront.core.objectives import Measurement, normalised_hypervolume, objective_values, resolve
from leanfront.core.objectives.metrics import metrics_of
from leanfront.core.search.attempt import (
    BEFORE,
    LIMIT,
    MINUTES,
    OWN,
    PREDICTED,
    PREDICTED_MINUTES,
    Attempt,
    RecoveryProgress,
    gain_of,
    last_training,
    require_recoverable,
    uncut,
)
from leanfront.core.search.candidate import Candidate
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.search.options import MOST_RECOVERED
from leanfront.core.search.promotion import Features, Outcome, Prediction, Predictor, ranked
from leanfront.core.search.store_protocol import Store
from leanfront.core.targets.architectures import architecture_name
from leanfront.core.targets.memory_format import with_innermost
from leanfront.errors import ArtifactError, LeanfrontError, StorageError


class Files(Protocol):
    """Storage of candidates' files; provided by the caller."""

    def packed(self, candidate: Candidate) -> bytes | None:
        """Return the kept packed file of a candidate; None if it is missing or damaged."""
        ...

    def checkpoint(self, candidate: Candidate, settings: Recovery) -> Path:
        """Return the path of the checkpoint of a candidate's training with these settings."""
        ...

    def add(self, candidate: Candidate, content: bytes | None) -> Candidate:
        """Store a recovered candidate together with its packed file, or return the stored one."""
        ...


Report = Callable[[RecoveryProgress], None]
Stop = Callable[[], bool]


def _silent(progress: RecoveryProgress) -> None:
    """Ignore the progress of a recovery."""


def _never() -> bool:
    return False


class Recoverer:
    """Recovers candidates of one search in this process.

    Args:
        store: store of the search.
        search: name of the search.
        evaluator: evaluator of its target, on the device that trains.
        files: storage of candidates' files.
    """

    def __init__(self, store: Store, search: str, evaluator: Evaluator, files: Files) -> None:
        self.store, self.search = store, search
        self._evaluator, self._files = evaluator, files
        self.record = store.search(search)
        self._objectives = resolve(self.record.objectives)
        self._dense = {m.name: m.value for m in self.record.dense if m.split in ("", "validation")}

    # Queries

    def find(self, parent: Candidate, settings: Recovery, minutes: float | None = None) -> Candidate | None:
        """Return the stored result of recovering a candidate with these settings, or None.

        Args:
            parent: candidate to recover.
            settings: settings of the training.
            minutes: time limit; a stored training with the same limit that ran out of time also counts.
        """
        assert parent.id is not None
        for child in reversed(self._trained(parent.id)):
            own = last_training(child)
            had = child.value(LIMIT)
            if own == settings:
                return child
            if minutes is not None and had is not None and had >= minutes and uncut(own) == settings:
                return child
        return None

    def outcomes(self, settings: Recovery) -> list[Outcome]:
        """Return the outcomes of complete trainings with these settings, of candidates not trained before."""
        found = []
        for child in self._trained():
            gain, minutes = gain_of(child), child.value(MINUTES)
            if gain is None or minutes is None or child.parent is None:
                continue
            if (
                len(child.configuration.recovery) == 1
                and replace(last_training(child), seed=settings.seed) == settings
            ):
                found.append(Outcome(self.features(self.store.candidate(child.parent)), gain, minutes))
        return found

    def features(self, candidate: Candidate) -> Features:
        """Return the features of a candidate for predicting its gain."""

        def share(name: str) -> float:
            own, dense = candidate.value(name), self._dense.get(name)
            return own / dense if own is not None and dense else 1.0

        drop = self._dense.get("accuracy", 0.0) - (candidate.accuracy or 0.0)
        return Features(drop, share("macs"), share("memory_bytes"))

    # Recovery

    def recover(
        self,
        parent: Candidate,
        settings: Recovery,
        *,
        minutes: float | None = None,
        seconds: float | None = None,
        done: int = 0,
        report: Report = _silent,
        stop: Stop = _never,
    ) -> Attempt:
        """Train a candidate and store the result, unless that was done before.

        Args:
            parent: a stored candidate.
            settings: settings of the training.
            minutes: time limit that the user gave for all recoveries.
            seconds: remaining time for this one.
            done: number of candidates recovered before it, for `report`.
            report: called after every step.
            stop: called after every step; when it returns true, a checkpoint is left from which the same call
                continues.

        Raises:
            UsageError: the candidate cannot be recovered.
            CompressionError: the training failed.
            ArtifactError: the candidate's weights are lost.
            StorageError: the result cannot be stored; the checkpoint is kept.
        """
        require_recoverable(parent, self.record)
        known = self.find(parent, settings, minutes)
        if known is not None:
            return Attempt(parent, known, found=True)
        assert parent.id is not None
        prediction = None
        if not parent.configuration.recovery:
            prediction = Predictor(self.outcomes(settings)).predict(self.features(parent))
        checkpoint = self._files.checkpoint(parent, settings)
        made = train(
            self._evaluator.compressor,
            self._start(parent),
            settings,
            checkpoint=checkpoint,
            report=lambda training: report(RecoveryProgress(parent.id or 0, done, training)),
            stop=stop,
            seconds=seconds,
        )
        if made.ended == "stopped" or not made.history:
            return Attempt(parent, None, ended=made.ended, epochs=made.history)
        stored = self._files.add(*self._made(parent, settings, made, minutes, prediction))
        checkpoint.unlink(missing_ok=True)
        self._measure_frontier()
        return Attempt(parent, stored, ended=made.ended, epochs=made.history)

    def promote(
        self,
        pool: Iterable[Candidate],
        settings: Recovery,
        *,
        minutes: float | None = None,
        most: int | None = None,
        spent: float = 0.0,
        all: bool = False,
        report: Report = _silent,
        stop: Stop = _never,
    ) -> Iterator[Attempt]:
        """Recover candidates, the one with the most expected hypervolume per minute first.

        A candidate is started only if its expected training time fits into the remaining time.

        Args:
            pool: candidates to choose from.
            settings: settings of the trainings.
            minutes: time limit for all together; None for no limit.
            most: largest number of candidates; None for no limit.
            spent: minutes of the limit already used.
            all: whether to include candidates without expected gain and those recovered before.
            report, stop: as in `recover`.
        """
        begin = time.monotonic()
        waiting = {each.id: each for each in pool}
        if not all:
            tried = self._tried(settings)
            waiting = {i: each for i, each in waiting.items() if i not in tried}
        done = 0
        while waiting and (most is None or done < most) and not stop():
            left = None if minutes is None else minutes - spent - (time.monotonic() - begin) / 60
            if left is not None and left <= 0:
                return
            parent = self._next(list(waiting.values()), settings, left if done else None, all)
            if parent is None:
                return
            del waiting[parent.id]
            seconds = None if left is None else 60 * left
            try:
                attempt = self.recover(
                    parent, settings, minutes=minutes, seconds=seconds, done=done, report=report, stop=stop
                )
            except StorageError:
                raise
            except LeanfrontError as error:
                attempt = Attempt(parent, None, ended="failed", error=str(error))
            done += not attempt.found
            yield attempt
            if attempt.ended == "stopped":
                return

    def _tried(self, settings: Recovery) -> set[int | None]:
        """Return the ids of candidates trained with these settings, even if only for part of the time."""
        return {child.parent for child in self._trained() if uncut(last_training(child)) == settings}

    def _trained(self, parent: int | None = None) -> list[Candidate]:
        """Return the recovered candidates of the search, or those of one parent, by id."""
        return [child for child in self.store.recovered(self.search, parent) if child.configuration.recovery]

    def _next(
        self, waiting: Sequence[Candidate], settings: Recovery, left: float | None, all: bool
    ) -> Candidate | None:
        """Return the best candidate to train within so many minutes."""
        predictor = Predictor(self.outcomes(settings))
        points = []
        for each in waiting:
            values, _ = objective_values(self._objectives, each.measurements)
            points.append((self.features(each), values or ()))
        usable = [i for i, (_, values) in enumerate(points) if values]
        order = [
            usable[i]
            for i in ranked(
                predictor,
                [points[i] for i in usable],
                self._front(),
                self._objectives,
                self.record.reference,
            )
        ]
        if all:
            order += [i for i in range(len(waiting)) if i not in order]
        for i in order:
            expected = predictor.predict(points[i][0]).minutes
            if left is None or expected is None or expected <= left:
                return waiting[i]
        return None

    def _start(self, parent: Candidate) -> Compressed:
        """Read the parent from its file, so that every training begins with the same weights."""
        compressor = self._evaluator.compressor
        content = self._files.packed(parent)
        if content is None:
            if parent.configuration.recovery:
                raise ArtifactError(
                    f"the file of candidate {parent.id} is gone or damaged, and its weights were learnt: recover the "
                    f"candidate it came from, {parent.parent}, with another seed"
                )
            content = self._write(compressor.materialise(parent.configuration))
        compressed = self._read(content)
        if compressed.configuration.digest != parent.configuration.digest:
            raise ArtifactError(f"the kept file of candidate {parent.id} is another candidate's")
        return compressed

    def _made(
        self,
        parent: Candidate,
        settings: Recovery,
        made: Recovered,
        minutes: float | None,
        prediction: Prediction | None,
    ) -> tuple[Candidate, bytes | None]:
        """Build the candidate to store and its file; if nothing was gained, a failed candidate without a file."""
        before = parent.measurement("accuracy", "validation")
        if before is None or parent.state != "complete":
            before = Measurement("accuracy", made.before, "validation")
        facts = [replace(before, name=BEFORE, split="")]
        spent = sum(epoch.seconds for epoch in made.history) / 60
        facts.append(Measurement(MINUTES, spent, unit="min"))
        if made.ended == "time" and minutes is not None:
            facts.append(Measurement(LIMIT, minutes, unit="min"))
        if prediction is not None:
            facts.append(
                Measurement(
                    PREDICTED,
                    prediction.gain,
                    low=prediction.low,
                    high=prediction.high,
                    count=prediction.points,
                )
            )
            if prediction.minutes is not None:
                facts.append(Measurement(PREDICTED_MINUTES, prediction.minutes, unit="min"))
        own: dict[str, Any] = {
            "search": self.search,
            "number": parent.number,
            "parent": parent.id,
            "kept": parent.kept,
            "seconds": 60 * spent,
        }
        accuracy = made.before
        if made.improved:
            content = self._write(made.compressed)
            measured = self._measured(content)
            accuracy = next(m.value for m in measured if (m.name, m.split) == ("accuracy", "validation"))
            if accuracy > before.value:
                # Its costs are its parent's, except that the file also records the training.
                costs = [
                    replace(m, value=len(content)) if m.name == "file_bytes" else m
                    for m in parent.measurements
                    if not m.split and m.name not in OWN
                ]
                measurements = (*costs, *measured, *facts)
                configuration = made.compressed.configuration
                return Candidate(configuration=configuration, measurements=measurements, **own), content
        if made.ended == "time":
            settings = replace(settings, steps=made.history[-1].steps)
        trained = (*parent.configuration.recovery, settings.to_json())
        epochs = len(made.history)
        reason = (
            f"nothing was gained in {epochs} epoch{'' if epochs == 1 else 's'} of recovery: accuracy {accuracy:.4f} "
            f"is no more than {before.value:.4f}"
        )
        configuration = parent.configuration.change(recovery=trained)
        failed = Candidate(
            configuration=configuration, state="failed", reason=reason, measurements=tuple(facts), **own
        )
        return failed, None

    def _measured(self, content: bytes) -> tuple[Measurement, ...]:
        """Measure the content of a file on validation and test."""
        evaluator = self._evaluator
        module = self._read(content).module.to(evaluator.device)
        fold(module, evaluator.compressor.context.foldable)
        splits = ["validation"] if evaluator.target.test is None else ["validation", "test"]
        # Include everything the search measures, such as its objectives: the evaluator may measure less.
        names = metrics_of(self.record.settings.get("metrics", ()))
        return tuple(each for split in splits for each in evaluator.measure(module, split, names))

    def _read(self, content: bytes) -> Compressed:
        target = self._evaluator.target
        compressed = compressed_of(read(content), self._evaluator.compressor.structure, target.model)
        with_innermost(compressed.module, target.channels_last)
        return compressed

    def _write(self, compressed: Compressed) -> bytes:
        structure = self._evaluator.compressor.structure
        return write(compressed, structure, architecture_name(self._evaluator.target))

    def _front(self, stage: str = "after") -> list[Sequence[float]]:
        """Return the objective values of the frontier's members, before or after recovery."""
        values = (
            objective_values(self._objectives, each.measurements)[0]
            for each in self.store.frontier(self.search, stage=stage)
        )
        return [each for each in values if each is not None]

    def _volume(self, front: Sequence[Sequence[float]], *, log2: bool) -> float:
        return float(normalised_hypervolume(front, self._objectives, self.record.reference, log2=log2))

    def _measure_frontier(self) -> None:
        front = self._front()
        self.store.set_hypervolume(
            self.search, self._volume(front, log2=False), self._volume(front, log2=True)
        )

    # Recovery at the end of a search

    def promote_frontier(
        self, settings: Recovery, minutes: float | None, *, report: Report = _silent, stop: Stop = _never
    ) -> tuple[bool, str]:
        """Recover members of the search's frontier before recovery, continuing where an earlier call stopped.

        Args:
            settings: settings of the trainings.
            minutes: total time limit; None recovers the `MOST_RECOVERED` best.
            report, stop: as in `recover`.

        Returns:
            Whether it was not stopped, and a sentence about the results.
        """
        done = self._promoted(settings)
        spent = math.fsum(child.value(MINUTES) or 0.0 for child in done)
        most = MOST_RECOVERED - len(done) if minutes is None else None
        pool = self.store.frontier(self.search, stage="before")
        errors = []
        for attempt in self.promote(
            pool, settings, minutes=minutes, most=most, spent=spent, report=report, stop=stop
        ):
            if attempt.ended == "stopped":
                return False, ""
            if attempt.error is not None:
                errors.append(f"candidate {attempt.parent.id}: {attempt.error}")
        if stop():
            return False, ""
        said = self._promotion_text(self._promoted(settings), Predictor(self.outcomes(settings)).error)
        if errors:
            said += f"; {len(errors)} could not be recovered: {errors[0]}"
        return True, said

    def _promoted(self, settings: Recovery) -> list[Candidate]:
        """Return the candidates recovered with these settings from candidates not trained before."""
        return [
            child
            for child in self._trained()
            if len(child.configuration.recovery) == 1 and uncut(last_training(child)) == settings
        ]

    def _promotion_text(self, done: Sequence[Candidate], error: float | None) -> str:
        better = [child for child in done if child.state == "complete"]
        said = f"{len(done)} candidates recovered, {len(better)} of them gained"
        gains = [gain for child in better if (gain := gain_of(child)) is not None]
        if gains:
            before, after = (self._volume(self._front(stage), log2=True) for stage in ("before", "after"))
            said += (
                f" {100 * sum(gains) / len(gains):.2f} points of accuracy in the mean; hypervolume (log2 axes) "
                f"{before:.3f} -> {after:.3f}"
            )
        return said if error is None else f"{said}; gains predicted within {100 * error:.2f} points"
