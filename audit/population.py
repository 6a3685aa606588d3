"""Populations: K models, and what each and its compressed versions answer."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.answers import Answers
from audit.member import Member
from audit.versions import Version
from compressors import Structure
from compressors.outputs import batch_size, correct, outputs
from search.dense import require_split
from search.recipe import Source
from targets import Target
from targets.errors import EvaluationError

TOP = 5
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
        missing = {
            index: tuple(each for each in versions if answers.get(*self.key(index, each)) is None)
            for index in range(self.models)
        }
        waiting = [(index, found) for index, found in missing.items() if found]
        total = self.models * len(versions)
        done = total - sum(len(found) for _, found in waiting)
        report(done, total)
        # What was just computed is at hand even where the cache cannot be written.
        fresh: dict[tuple[int, str], Tensor] = {}
        for index, name, logits in self._computed(waiting, answers, workers, stop):
            fresh[index, name] = logits
            done += 1
            report(done, total)
        labels = require_split(self.target, self.split).labels
        found = {}
        for version in versions:
            every = [self._of(index, version, answers, fresh) for index in range(self.models)]
            whole = [each for each in every if each is not None]
            if len(whole) < self.models:
                return None
            found[version.name] = Votes(
                np.stack([each.argmax(1).numpy() for each in whole]),
                np.stack([correct(each, labels, min(TOP, each.shape[1])).numpy() for each in whole]),
            )
        return found

    def _of(
        self, index: int, version: Version, answers: Answers, fresh: dict[tuple[int, str], Tensor]
    ) -> Tensor | None:
        found = fresh.get((index, version.name))
        return found if found is not None else answers.get(*self.key(index, version))

    def _computed(
        self,
        waiting: Sequence[tuple[int, tuple[Version, ...]]],
        answers: Answers,
        workers: int,
        stop: Callable[[], bool],
    ) -> Iterator[tuple[int, str, Tensor]]:
        if workers == 1 or len(waiting) < 2:
            for index, versions in waiting:
                for name, logits in answered(self, index, versions, answers, stop):
                    yield index, name, logits
            return
        count = min(workers, len(waiting))
        with _processes(self, count) as executor:
            running = {executor.submit(_answered, index, found): index for index, found in waiting}
            try:
                yield from self._collected(running, answers, stop)
            finally:
                executor.shutdown(wait=False, cancel_futures=True)

    def _collected(
        self,
        running: dict[Future[list[tuple[str, Tensor]]], int],
        answers: Answers,
        stop: Callable[[], bool],
    ) -> Iterator[tuple[int, str, Tensor]]:
        for future in as_completed(running):
            try:
                found = future.result()
            except BrokenProcessPool as error:
                raise EvaluationError(
                    "a worker process of the audit was killed, by the system for memory perhaps: what was answered "
                    "is kept; run it again, with fewer workers"
                ) from error
            yield from ((running[future], name, logits) for name, logits in found)
            if stop():
                return


def answered(
    population: Population,
    index: int,
    versions: Sequence[Version],
    answers: Answers,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[str, Tensor]]:
    """What versions of one member answer, each kept as soon as it is there: (name, logits (N, C))."""
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
        yield version.name, answers.put(logits, *population.key(index, version))


_population: Population | None = None


def _open(source: Source, blank: Population, threads: int) -> None:
    """In a worker process: get the target and set up."""
    global _population
    torch.set_num_threads(threads)
    _population = replace(blank, target=source.open())


def _answered(index: int, versions: tuple[Version, ...]) -> list[tuple[str, Tensor]]:
    assert _population is not None
    return list(answered(_population, index, versions, Answers()))


def _processes(population: Population, count: int) -> Executor:
    threads = max(1, (os.cpu_count() or 1) // count)
    # The target is sent as what gives it again; without one its pickle would be sent twice.
    source, blank = Source.of(population.target), replace(population, target=None)  # type: ignore[arg-type]
    return ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), initializer=_open, initargs=(source, blank, threads)
    )
