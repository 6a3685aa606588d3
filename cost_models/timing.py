"""Timing of functions on a shared machine: in turn, many times, with quantiles of the runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

Clock = Callable[[], float]
Run = Callable[[], object]

WARM_UP = 2
"""Untimed runs at the start, in which memory is allocated and kernels are chosen."""
TURN = 2
"""Timed runs of each function per turn, after an untimed run that evicts the other function's data."""
FEWEST_TURNS, MOST_TURNS = 2, 100
"""Smallest and largest number of turns."""
FLOOR = 0.1
"""Quantile of wall-clock times that compares functions of several threads; other load hardly affects it."""


@dataclass(frozen=True)
class Timing:
    """Times of single runs, in order.

    Args:
        seconds: wall-clock times, s.
        own: processor times of the calling thread, s.
    """

    seconds: tuple[float, ...]
    own: tuple[float, ...]

    def quantile(self, share: float) -> float:
        """Return the time that this share of the runs did not exceed, s."""
        return float(np.quantile(self.seconds, share))

    @property
    def p50(self) -> float:
        """Median, s."""
        return self.quantile(0.5)

    @property
    def p95(self) -> float:
        """95th percentile, s."""
        return self.quantile(0.95)

    @property
    def halves(self) -> tuple[Timing, Timing]:
        """The runs of every second turn and of the other turns, to compare as two measurements."""
        odd = [run // TURN % 2 == 1 for run in range(len(self.seconds))]
        first, second = (
            Timing(
                tuple(each for each, other in zip(self.seconds, odd, strict=True) if other == half),
                tuple(each for each, other in zip(self.own, odd, strict=True) if other == half),
            )
            for half in (False, True)
        )
        return first, second if second.seconds else first

    def undisturbed(self, threads: int) -> float:
        """Estimate the time of a run without other load on the processor, s.

        For one thread it is the median processor time: with eight busy processes on two cores, two measurements
        differed by 1%, but by 11% in wall-clock time. For more threads it is the `FLOOR` quantile of wall-clock time.

        Args:
            threads: number of threads of the run.
        """
        return float(np.median(self.own)) if threads == 1 else self.quantile(FLOOR)


def in_turn(
    runs: Sequence[Run],
    seconds: float,
    *,
    clock: Clock = time.perf_counter,
    thread_clock: Clock = time.thread_time,
) -> list[Timing]:
    """Time functions in turn, so that a change in the speed of the machine affects all of them.

    Args:
        runs: functions to call repeatedly.
        seconds: time to spend on all of them, within `FEWEST_TURNS` to `MOST_TURNS` turns.
        clock: wall-clock time, s.
        thread_clock: processor time of this thread, s.
    """
    for run in runs:
        for _ in range(WARM_UP):
            run()
    found: list[list[tuple[float, float]]] = [[] for _ in runs]
    begin = clock()
    for turn in range(MOST_TURNS):
        if turn >= FEWEST_TURNS and clock() - begin >= seconds:
            break
        for run, own in zip(runs, found, strict=True):
            run()
            for _ in range(TURN):
                start, busy = clock(), thread_clock()
                run()
                own.append((clock() - start, thread_clock() - busy))
    return [Timing(tuple(wall for wall, _ in own), tuple(busy for _, busy in own)) for own in found]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Set the number of torch threads, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
