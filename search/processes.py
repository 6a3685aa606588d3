"""Start of other processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any

PRELOADED = ("leanfront.core.search.evaluation", "leanfront.core.targets.digits")
"""Modules loaded before a process is forked: torch and what computes. None of them initialises CUDA on import, since
a process forked after that could not use it."""


def context() -> BaseContext:
    """Return a fork server that has preloaded the heavy modules, on Linux; elsewhere, the spawn context.

    The server is a fresh process, so this process's use of CUDA or threads does not reach its children. Compared with
    spawned processes, its children take half the memory, and a replacement works in half the time
    (docs/benchmarks.md).
    """
    # macOS has a fork server too, but its system libraries do not support a fork once they are in use.
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    # This has an effect only before the server runs; a server that somebody else started works as well.
    found.set_forkserver_preload(list(PRELOADED))
    return found


def executor(
    workers: int, initializer: Callable[..., None], arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """Return an executor of processes.

    Args:
        workers: number of processes.
        initializer: picklable function called in each process before its first task.
        arguments: arguments of the initializer.
    """
    # Children of a fork server have its environment, and this process's may have changed since it started.
    return ProcessPoolExecutor(
        workers, context(), initializer=_begin, initargs=(dict(os.environ), initializer, arguments)
    )


def _begin(
    environment: Mapping[str, str], initializer: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    initializer(*arguments)
