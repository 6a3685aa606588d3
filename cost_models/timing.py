"""Time functions on a machine that others use too: in turn, many times, and ends of the distribution told."""

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
"""Runs before any is timed: memory is allocated, kernels are chosen."""
TURN = 2
"""Timed runs of each function a turn; one before them is not timed: it finds the other's data in the cache."""
FEWEST_TURNS, MOST_TURNS = 2, 100
"""Turns."""
FLOOR = 0.1
"""Quantile of the wall-clock at which functions of several threads are compared: others hardly disturbed it."""


@dataclass(frozen=True)
class Timing:
    """Single runs, in order.

    Args:
        seconds: wall-clock.
        own: seconds that the calling thread was on a processor.
    """

    seconds: tuple[float, ...]
    own: tuple[float, ...]

    def quantile(self, share: float) -> float:
        """The time that this share of the runs did not exceed, s."""
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
        """The runs of every second turn, and of the others: how far two measurements differ."""
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
        """What a run takes where no other process wants the processor, s.

        For one thread, the median of its time on the processor: with eight busy processes on two cores, two
        measurements differed by 1%, and by 11% on the wall-clock. For more, the `FLOOR` of the wall-clock.

        Args:
            threads: that run.
        """
        return float(np.median(self.own)) if threads == 1 else self.quantile(FLOOR)


def in_turn(
    runs: Sequence[Run],
    seconds: float,
    *,
    clock: Clock = time.perf_counter,
    thread_clock: Clock = time.thread_time,
) -> list[Timing]:
    """Time functions in turn, so that what slows the machine for a while slows all of them.

    Args:
        runs: called over and over.
        seconds: to spend on all of them; at least `FEWEST_TURNS` turns are taken and at most
            `MOST_TURNS`.
        clock: seconds on the wall.
        thread_clock: seconds of this thread on a processor.
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
    """Let torch use so many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
