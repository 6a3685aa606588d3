"""How other processes of this machine are started."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any

PRELOADED = ("leanfront.core.search.evaluation", "leanfront.core.targets.digits")
"""Modules that are loaded before a process is forked: torch and what computes. None of them touches CUDA when it is
imported, since a process cannot use it that was forked after that."""


def context() -> BaseContext:
    """A fork server that has loaded what is heavy, on Linux; elsewhere processes are spawned.

    The server is a fresh process, so what this one has done with CUDA or threads does not reach its children. Beside
    spawned processes its children take half the memory, and one that replaces another works in half the time
    (docs/benchmarks.md).
    """
    # macOS has one too, but its system libraries do not bear a fork once they are in use.
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    # Told before the server runs; one that somebody else has started has loaded something else, and serves as well.
    found.set_forkserver_preload(list(PRELOADED))
    return found


def executor(
    workers: int, initializer: Callable[..., None], arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """An executor of processes.

    Args:
        workers: how many.
        initializer: called in each before its first task; can be pickled.
        arguments: of it.
    """
    # A fork server's children have the environment that it was started with, and this one may have changed since.
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
