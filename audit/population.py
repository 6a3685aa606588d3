"""Populations: K models of a target, and the answers of each model and its compressed versions."""

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
"""First answers of one model (N,), and whether the label is among its first five (N,)."""
DIFFER = {
    "trained": "independently trained models",
    "recalibrated": "re-calibrations of one model on bootstrapped calibration samples, which also set its batch "
    "norms; their noise leaves out the differences between models that are trained separately",
}
"""Kind of population -> its models in words, and in what they differ."""
Report = Callable[[int, int], None]
"""Callback of the number of answers so far and in all."""


@dataclass(frozen=True)
class Votes:
    """Answers of the K models of a population.

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
        target: the audited target.
        structure: structure of its model.
        kind: ``recalibrated`` or ``trained``.
        models: K, the number of models.
        seed: seed of the population.
        split: split whose samples the models answer.
        samples: number of calibration samples.
        device: device that the models run on.
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
        """Return the kind, size, seed and a description of the models, for documents."""
        return {
            "kind": self.kind,
            "models": self.models,
            "seed": self.seed,
            "text": f"{self.models} {DIFFER[self.kind]}",
        }

    def member(self, index: int) -> Member:
        """Return one of the models."""
        return Member(self.target, self.structure, self.kind, index, self.seed, self.samples, self.device)

    def key(self, index: int, version: Version) -> tuple[str | int, ...]:
        """Return the cache key of one member's answers."""
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
        """Return the answers of every member to each version, by the version's name, or None if stopped.

        Cached answers are not computed again, so a stopped call continues there the next time.

        Args:
            versions: versions to make of each model.
            answers: cache of logits.
            workers: number of processes.
            report: callback after each model.
            stop: whether to stop, asked between two models.

        Raises:
            EvaluationError: a worker process died.
            TargetError: the target cannot be trained anew.
        """
        # Cached answers are read once, and computed answers are kept here in case the cache cannot be written.
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
        """Reduce logits (N, C) of a model to its votes: the logits of all models would not fit into memory."""
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
                    "a worker process of the audit was killed, perhaps by the system for lack of memory; the answers "
                    "so far are kept: run it again with fewer workers"
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
    """Yield the answers of one member's versions, by name; logits are cached as soon as they are computed."""
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
    """Open the target and set up a worker process."""
    global _work
    torch.set_num_threads(threads)
    _work = Population(source.open(), **rest), Answers(folder)


def _answered(index: int, versions: tuple[Version, ...]) -> list[tuple[str, Vote]]:
    assert _work is not None
    population, answers = _work
    return list(answered(population, index, versions, answers))


def _processes(population: Population, answers: Answers, count: int) -> Executor:
    threads = max(1, (os.cpu_count() or 1) // count)
    # The target is sent as a source that opens it again, and left out here so that it is not sent twice.
    rest = {each.name: getattr(population, each.name) for each in fields(population) if each.name != "target"}
    return executor(count, _open, (Source.of(population.target), rest, answers.folder, threads))
