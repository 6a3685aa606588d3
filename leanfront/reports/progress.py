"""Progress bars on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from leanfront.core.search import Progress, RecoveryProgress


@contextmanager
def counted(total: int, unit: str, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Show a bar over `total` things; yields a function to call after each."""
    with tqdm(total=total, unit=unit, dynamic_ncols=True, disable=None if shown else True) as meter:

        def done() -> None:
            meter.update()

        yield done


@contextmanager
def staged(shown: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per stage; yields a function to call with the stage, the number done and the total."""
    with tqdm(dynamic_ncols=True, disable=None if shown else True) as meter:
        stage: str | None = None

        def report(what: str, done: int, of: int) -> None:
            nonlocal stage
            if what != stage:
                stage = what
                meter.reset(of)
                meter.set_description(what, refresh=False)
            meter.total, meter.n = of, done
            meter.refresh()

        yield report


@contextmanager
def bar(trials: int, *, shown: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a bar over trials with frontier size and hypervolume; yields a function to call with each `Progress`."""
    if not shown:
        yield lambda progress: None
        return
    with tqdm(total=trials, unit="trial", dynamic_ncols=True, disable=None) as meter:

        def report(progress: Progress) -> None:
            meter.total = progress.goal
            if meter.n == 0 and progress.trials > 1:
                meter.initial = progress.trials - 1  # resumed search: the rate counts only new trials
            meter.n = progress.trials
            meter.set_description(f"{progress.stage}", refresh=False)
            meter.set_postfix(
                frontier=progress.frontier_size,
                stopped=progress.stopped,
                hypervolume=f"{progress.hypervolume_log2:.3f}",
                refresh=True,
            )

        yield report


@contextmanager
def trained(*, shown: bool) -> Iterator[Callable[[RecoveryProgress], None]]:
    """Show one bar per training; yields a function to call with each `RecoveryProgress`."""
    with tqdm(unit="step", dynamic_ncols=True, disable=None if shown else True) as meter:
        parent: int | None = None

        def report(progress: RecoveryProgress) -> None:
            nonlocal parent
            training = progress.training
            if progress.parent != parent:
                parent = progress.parent
                meter.reset(training.steps)
                meter.initial = training.step - 1  # resumed training: the rate counts only new steps
            meter.n = training.step
            meter.set_description(
                f"candidate {parent}, epoch {training.epoch} of {training.epochs}", refresh=False
            )
            meter.set_postfix(loss=f"{training.loss:.3f}", accuracy=f"{training.accuracy:.4f}", refresh=False)
            meter.update(0)
            if training.step == training.steps:
                meter.refresh()

        yield report
