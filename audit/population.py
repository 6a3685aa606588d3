"""Populations: K models, and what each and its compressed versions answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leanfront.core.audit.answers import Answers
from leanfront.core.audit.member import Member
from leanfront.core.audit.versions import Version
from leanfront.core.compressors import Structure
from leanfront.core.compressors.statistics.outputs import batch_size, correct, outputs
from leanfront.core.search.dense import require_split
from leanfront.core.search.evaluator_spec import Source
from leanfront.core.search.processes import executor
from leanfront.core.targets import Target
from leanfront.errors import EvaluationError

TOP = 5
Vote = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""One model's first answers (N,), and whether the label is among its first five (N,)."""
DIFFER = {
    "trained": "independently trained models",
    "recalibrated": "re-calibrations of one model: bootstrapped calibration samples, its batch norms among what they "
    "set. They differ by that alone, so that differences of models trained apart are not in their noise",
}
"""Kind of population -> what its models are, and what they differ by."""
Report = Callable[[int, int], None]
"""Told how many answers there are, and of how many."""


@dataclass(frozen=True)
class Votes:
    """What the K models of a population answer.

    Args:
        predictions: int64 (K, N) first answers.
        top5: bool (K, N), whether the label is among the first five.
    """

    predictions: NDArray[np.int64]
    top5: NDArray[np.bool_]


@dataclass(frozen=True)
class Population:
    """K models of one target.

    Args:
        target: that is audited.
        structure: of its model.
        kind: ``recalibrated`` or ``trained``.
        models: K.
        seed: of it.
        split: whose samples they answer.
        samples: calibration samples.
        device: where they run.
    """

    target: Target
    structure: Structure
    kind: str
    models: int
    seed: int
    split: str
    samples: int
    device: str

    def to_json(self) -> dict[str, Any]:
        """Kind, size, seed, and in words what its models have in common: what documents say of it."""
        return {
            "kind": self.kind,
            "models": self.models,
            "seed": self.seed,
            "text": f"{self.models} {DIFFER[self.kind]}",
        }

    def member(self, index: int) -> Member:
        """One of the models."""
        return Member(self.target, self.structure, self.kind, index, self.seed, self.samples, self.device)

    def key(self, index: int, version: Version) -> tuple[str | int, ...]:
        """What one member's answers are kept under."""
        split = require_split(self.target, self.split)
        where = torch.device(self.device).type
        place = (self.kind, index, self.seed, self.samples)
        return ("population", self.target.fingerprint, *place, version.key, split.digest, where)

    def votes(
        self,
        versions: Sequence[Version],
        answers: Answers,
        *,
        workers: int = 1,
        report: Report = lambda done, of: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, Votes] | None:
        """What every member's version of each kind answers, by the version's name; None where it was stopped.

        What was answered before is not computed again; what is stopped goes on there the next time.

        Args:
            versions: of each model.
            answers: the cache.
            workers: processes.
            report: told after each model.
            stop: asked between two models.

        Raises:
            EvaluationError: a worker process died.
            TargetError: the target cannot be trained anew.
        """
        # What is kept is read once, and what is computed is at hand even where the cache cannot be written.
        every: dict[tuple[int, str], Vote] = {}
        waiting = []
        for index in range(self.models):
            missing = []
            for version in versions:
                logits = answers.get(*self.key(index, version))
                if logits is None:
                    missing.append(version)
                else:
                    every[index, version.name] = self.vote(logits)
            if missing:
                waiting.append((index, tuple(missing)))
        total = self.models * len(versions)
        report(len(every), total)
        for index, name, vote in self._computed(waiting, answers, workers, stop):
            every[index, name] = vote
            report(len(every), total)
        if len(every) < total:
            return None
        found = {}
        for version in versions:
            first, five = zip(*(every[index, version.name] for index in range(self.models)), strict=True)
            found[version.name] = Votes(np.stack(first), np.stack(five))
        return found

    def vote(self, logits: Tensor) -> Vote:
        """What of a model's logits (N, C) is counted: logits of all models would not fit into memory."""
        labels = require_split(self.target, self.split).labels
        return logits.argmax(1).numpy(), correct(logits, labels, min(TOP, logits.shape[1])).numpy()

    def _computed(
        self,
        waiting: Sequence[tuple[int, tuple[Version, ...]]],
        answers: Answers,
        workers: int,
        stop: Callable[[], bool],
    ) -> Iterator[tuple[int, str, Vote]]:
        if workers == 1 or len(waiting) < 2:
            for index, versions in waiting:
                for name, vote in answered(self, index, versions, answers, stop):
                    yield index, name, vote
            return
        count = min(workers, len(waiting))
        with _processes(self, answers, count) as executor:
            running = {executor.submit(_answered, index, found): index for index, found in waiting}
            try:
                yield from self._collected(running, stop)
            finally:
                executor.shutdown(wait=False, cancel_futures=True)

    def _collected(
        self,
        running: dict[Future[list[tuple[str, Vote]]], int],
        stop: Callable[[], bool],
    ) -> Iterator[tuple[int, str, Vote]]:
        for future in as_completed(running):
            try:
                found = future.result()
            except BrokenProcessPool as error:
                raise EvaluationError(
                    "a worker process of the audit was killed, by the system for memory perhaps: what was answered "
                    "is kept; run it again, with fewer workers"
                ) from error
            yield from ((running[future], name, vote) for name, vote in found)
            if stop():
                return


def answered(
    population: Population,
    index: int,
    versions: Sequence[Version],
    answers: Answers,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[str, Vote]]:
    """What versions of one member answer, by name; the logits are kept as soon as they are there."""
    member = population.member(index)
    data = require_split(population.target, population.split)
    size = batch_size(population.target.example_input)
    for version in versions:
        if stop():
            return
        logits, _ = outputs(version.module(member), data, size, torch.device(population.device))
        if not bool(torch.isfinite(logits).all()):
            raise EvaluationError(
                f"'{version.name}' of model {index} of the population gives NaN or infinite outputs"
            )
        yield version.name, population.vote(answers.put(logits, *population.key(index, version)))


_work: tuple[Population, Answers] | None = None


def _open(source: Source, rest: dict[str, Any], folder: Path, threads: int) -> None:
    """In a worker process: get the target and set up."""
    global _work
    torch.set_num_threads(threads)
    _work = Population(source.open(), **rest), Answers(folder)


def _answered(index: int, versions: tuple[Version, ...]) -> list[tuple[str, Vote]]:
    assert _work is not None
    population, answers = _work
    return list(answered(population, index, versions, answers))


def _processes(population: Population, answers: Answers, count: int) -> Executor:
    threads = max(1, (os.cpu_count() or 1) // count)
    # The target is sent as what gives it again; without one its pickle would be sent twice.
    rest = {each.name: getattr(population, each.name) for each in fields(population) if each.name != "target"}
    return executor(count, _open, (Source.of(population.target), rest, answers.folder, threads))
