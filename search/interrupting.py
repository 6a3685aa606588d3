"""Ctrl-C handling for work that can report where it stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Make Ctrl-C set a flag instead of raising, so that work can stop cleanly; a second Ctrl-C ends it at once.

    The context yields a function that tells whether Ctrl-C was pressed, and raises `KeyboardInterrupt` at its end if
    so. Where Ctrl-C would not raise `KeyboardInterrupt`, the function always returns false.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return
    asked = False

    def heard(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, heard)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked:
        raise KeyboardInterrupt
