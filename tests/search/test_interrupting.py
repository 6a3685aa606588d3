"""Ctrl-C for work that can say how far it is, with the signal itself."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

from leanfront.core.search.interrupting import interruptible


def test_the_first_is_noted_and_raised_at_the_end() -> None:
    done = []

    def work() -> None:
        with interruptible() as asked:
            assert not asked()
            signal.raise_signal(signal.SIGINT)
            assert asked()
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with interruptible() as asked:
        assert not asked()


def test_the_second_ends_at_once() -> None:
    def work() -> None:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_is_not_covered_up() -> None:
    def work() -> None:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_handles_ctrl_c_goes_on_doing_so() -> None:
    heard = []

    def own(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGINT, own)
    try:
        with interruptible() as asked:
            signal.raise_signal(signal.SIGINT)
            assert not asked()
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


def test_other_threads_cannot_hear_it() -> None:
    said = []

    def work() -> None:
        with interruptible() as asked:
            said.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == [False]
