"""Pauses between repeated requests to a server."""

from __future__ import annotations

import random
import time

ATTEMPTS = 4
LONGEST_WAIT = 10.0
"""Longest pause in seconds, even if the server asks for a longer one."""


def pause(attempt: int, asked: str | None = None) -> None:
    """Wait before the next attempt.

    Args:
        attempt: number of attempts so far.
        asked: value of the server's ``Retry-After`` header, in seconds.
    """
    wanted = float(asked) if asked is not None and asked.isdigit() else 0.1 * 2**attempt
    # Randomised, so that the clients of a restarted server do not all come back at once.
    time.sleep(min(wanted, LONGEST_WAIT) * random.uniform(0.75, 1.25))
