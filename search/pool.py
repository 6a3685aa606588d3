"""Evaluators in processes of this machine; each process is replaced alone when it dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from leanfront.core.compressors import Configuration
from leanfront.core.search.evaluation import Evaluation, Evaluator
from leanfront.core.search.evaluator_spec import EvaluatorLostError, EvaluatorSpec
from leanfront.core.search.processes import executor
from leanfront.core.search.racing import Race
from leanfront.errors import EvaluationError

STARTS = 20
"""Number of processes that may die in a row while starting before the pool gives up."""
PATIENCE = 5.0
"""Seconds that a process may take to end when asked to."""


class PoolEvaluators:
    """Runs evaluations in processes, each with its own copy of the target.

    Each process has its own executor, so that it is known which evaluation a dead process ran; the others go on.

    Args:
        spec: specification from which a process builds its evaluator.
        workers: number of processes.
    """

    def __init__(self, spec: EvaluatorSpec, workers: int) -> None:
        self.capacity = workers
        self._starts = _Starts()
        self._processes = [
            _Process(spec, spec.devices[i % len(spec.devices)], self._starts) for i in range(workers)
        ]

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        """Start an evaluation in the least busy process; its future raises `EvaluatorLostError` if that dies."""
        process = min(self._processes, key=lambda each: each.waiting)
        return process.submit(configuration, split, race)

    @property
    def processes(self) -> list[BaseProcess]:
        """Return the processes that have been started."""
        return [process for each in self._processes for process in each.running]

    def close(self) -> None:
        """Stop the processes; running evaluations are lost."""
        processes = self.processes
        for each in self._processes:
            each.abandon()
        for process in processes:
            process.terminate()
        for process in processes:
            if _exit_code(process) is None:
                # A suspended process does not react to signals.
                process.kill()
                _exit_code(process, seconds=60.0)


class _Starts:
    """Counts processes that died before they were ready, since one last worked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._died = 0

    def died(self) -> int:
        with self._lock:
            self._died += 1
            return self._died

    def worked(self) -> None:
        with self._lock:
            self._died = 0


class _Process:
    """One process of the pool, and its successors."""

    def __init__(self, spec: EvaluatorSpec, device: str, starts: _Starts) -> None:
        self._spec = spec
        self._device = device
        self._starts = starts
        self._executor: ProcessPoolExecutor | None = None
        self._last: Future[Any] | None = None
        self._submitted: list[Future[Evaluation]] = []

    @property
    def waiting(self) -> int:
        """Number of unfinished evaluations, including abandoned ones."""
        self._submitted = [future for future in self._submitted if not future.done()]
        return len(self._submitted)

    @property
    def running(self) -> list[BaseProcess]:
        """Return the process in a list, or an empty list if there is none."""
        return [] if self._executor is None else list((self._executor._processes or {}).values())

    def submit(self, configuration: Configuration, split: str, race: Race | None) -> Future[Evaluation]:
        with _interrupts_held():
            # Processes, and the server that forks them, are started here: Ctrl-C must reach only the driver.
            try:
                inner = self._ready().submit(_evaluate, configuration, split, race)
            except BrokenProcessPool:
                # It died while it was idle.
                self.abandon()
                inner = self._ready().submit(_evaluate, configuration, split, race)
        before, self._last = self._last, inner
        assert before is not None
        processes = self.running
        outer: Future[Evaluation] = Future()

        def done(future: Future[Evaluation]) -> None:
            if not outer.set_running_or_notify_cancel():
                return
            error = future.exception() if not future.cancelled() else None
            if isinstance(error, BrokenProcessPool):
                outer.set_exception(self._lost(before, processes))
            elif error is not None:
                outer.set_exception(error)
            elif future.cancelled():
                outer.set_exception(EvaluatorLostError("the pool was closed", tries=0))
            else:
                self._starts.worked()
                outer.set_result(future.result())

        self._submitted.append(outer)
        inner.add_done_callback(done)
        return outer

    def _ready(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = executor(1, _prepare, (self._spec, self._device))
            # A separate task: a process that dies in it says nothing about a configuration.
            self._last = self._executor.submit(_build)
        return self._executor

    def _lost(self, before: Future[Any], processes: list[BaseProcess]) -> Exception:
        """Build the error for a dead process; what preceded the evaluation tells whether it had begun."""
        how = ", ".join(_end(process) for process in processes)
        if before.done() and not before.cancelled() and not isinstance(before.exception(), BrokenProcessPool):
            return EvaluatorLostError(f"the process that evaluated it died ({how})")
        died = self._starts.died()
        if died < STARTS:
            return EvaluatorLostError(f"the process died before it could evaluate ({how})", tries=0)
        return EvaluationError(
            f"{died} pool processes in a row died before they could evaluate (the last: {how}); each holds the "
            "target and its data: use fewer workers if memory is short, or one worker to see what goes wrong. A "
            'script that starts a search needs its `if __name__ == "__main__":`'
        )

    def abandon(self) -> None:
        """Drop the process without waiting for it."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = self._last = None


def _exit_code(process: BaseProcess, seconds: float | None = None) -> int | None:
    """Return the exit code of a process after waiting up to `seconds` (default `PATIENCE`); None while it runs.

    The executor's own thread waits for it too. Whichever comes second is told at once that there is no such process,
    a moment before the first has stored the exit code: hence several attempts.
    """
    until = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while process.exitcode is None and (left := until - time.monotonic()) > 0:
        process.join(left)
        time.sleep(0.001)
    return process.exitcode


def _end(process: BaseProcess) -> str:
    code = _exit_code(process)  # its pipes are closed a moment before it is gone
    return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"


_spec: EvaluatorSpec | None = None
_device = "cpu"
_evaluator: Evaluator | None = None


def _prepare(spec: EvaluatorSpec, device: str) -> None:
    """Set up a pool process. A task builds the evaluator, so that its errors travel back."""
    global _spec, _device
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(spec.threads)
    _spec, _device = spec, device


def _die_with_parent() -> None:
    """End this process when its parent is gone: a driver that was killed closes nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _build() -> None:
    global _evaluator
    if _evaluator is None:
        assert _spec is not None
        _evaluator = _spec.build(_device)


def _evaluate(configuration: Configuration, split: str, race: Race | None) -> Evaluation:
    _build()
    assert _evaluator is not None
    return _evaluator.evaluate(configuration, split, race)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Delay Ctrl-C: this process receives it afterwards, and processes started meanwhile never do."""
    if not hasattr(signal, "pthread_sigmask"):
        yield  # not on Windows
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
