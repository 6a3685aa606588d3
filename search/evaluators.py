"""Where evaluations run: in this process, or in a pool of spawned ones."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from compressors import Configuration, Structure
from search.evaluation import Evaluation, Evaluator
from search.racing import Race
from targets import Target, resolve
from targets.errors import TargetError


class Evaluators(Protocol):
    """Runs evaluations and says how many at once."""

    capacity: int

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        """Start an evaluation; with a race it ends when that is lost."""
        ...

    def restart(self) -> None:
        """Replace processes that died."""
        ...

    def close(self) -> None:
        """Stop; what runs is abandoned."""
        ...


class LocalEvaluators:
    """One evaluation at a time, in this process: nothing to start, nothing to pickle."""

    capacity = 1

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        """Evaluate now; the future is done when this returns."""
        future: Future[Evaluation] = Future()
        future.set_result(self._evaluator.evaluate(configuration, split, race))
        return future

    def restart(self) -> None:
        """Nothing to replace."""

    def close(self) -> None:
        """Nothing to stop."""


@dataclass(frozen=True)
class EvaluatorRecipe:
    """What a pool process needs to build its evaluator.

    Args:
        target: the target's reference, or the pickled target when it has none.
        fingerprint: the driver's; a process that gets another target refuses to work.
        structure: derived once, by the driver.
        devices: one a process, taken in turn.
        samples: calibration samples.
        threads: torch threads a process may use.
    """

    target: str | bytes
    fingerprint: str
    structure: Structure
    devices: tuple[str, ...]
    samples: int
    threads: int


def recipe(target: Target, structure: Structure, device: str, samples: int, workers: int) -> EvaluatorRecipe:
    """The recipe for a target.

    Raises:
        TargetError: the target has no reference and cannot be pickled.
    """
    source: str | bytes
    if target.reference is not None:
        source = target.reference
    else:
        try:
            source = pickle.dumps(target)
        except Exception as error:
            raise TargetError(
                f"this target cannot be sent to other processes ({error}); "
                "put the function that makes it into a file and name it as file.py:function, or use one worker"
            ) from error
    devices: tuple[str, ...] = (device,)
    if device == "cuda":
        devices = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    threads = max(1, (os.cpu_count() or 1) // workers)
    return EvaluatorRecipe(source, target.fingerprint, structure, devices, samples, threads)


class PoolEvaluators:
    """A pool of spawned processes, each with its own copy of the target.

    Args:
        recipe: how a process builds its evaluator.
        workers: number of processes.
    """

    def __init__(self, recipe: EvaluatorRecipe, workers: int) -> None:
        self.capacity = workers
        self._recipe = recipe
        self._context = multiprocessing.get_context("spawn")
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        counter = self._context.Value("i", 0)
        return ProcessPoolExecutor(
            self.capacity, mp_context=self._context, initializer=_prepare, initargs=(self._recipe, counter)
        )

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        """Queue an evaluation; its future raises BrokenProcessPool when a process dies."""
        with _interrupts_held():
            # Processes are spawned here; they inherit that Ctrl-C is the driver's business.
            return self._pool.submit(_evaluate, configuration, split, race)

    def restart(self) -> None:
        """A new pool in the place of a broken one."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._start()

    def close(self) -> None:
        """Stop the processes; what they run is lost."""
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


_recipe: EvaluatorRecipe | None = None
_device = "cpu"
_evaluator: Evaluator | None = None


def _prepare(recipe: EvaluatorRecipe, counter: Any) -> None:
    """Set up a pool process; the evaluator itself is built by the first task, whose errors travel back."""
    global _recipe, _device
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(recipe.threads)
    _recipe = recipe
    with counter.get_lock():
        _device = recipe.devices[counter.value % len(recipe.devices)]
        counter.value += 1


def _die_with_parent() -> None:
    """A driver that was killed closes nothing: end this process when it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _evaluate(configuration: Configuration, split: str, race: Race | None) -> Evaluation:
    global _evaluator
    if _evaluator is None:
        assert _recipe is not None
        source = _recipe.target
        target = resolve(source) if isinstance(source, str) else pickle.loads(source)
        if target.fingerprint != _recipe.fingerprint:
            raise TargetError(
                "the target came out different in another process: its function must return the same weights "
                "and the same splits every time (load weights from a file, seed what is drawn), or use one worker"
            )
        _evaluator = Evaluator(target, _recipe.structure, device=_device, samples=_recipe.samples)
    return _evaluator.evaluate(configuration, split, race)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: it reaches this process afterwards, and those spawned meanwhile never."""
    if not hasattr(signal, "pthread_sigmask"):
        yield  # not on Windows
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
