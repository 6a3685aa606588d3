"""How often, and after which pauses, a server is asked again."""

from __future__ import annotations

import random
import time

ATTEMPTS = 4
LONGEST_WAIT = 10.0
"""Seconds; a server that asks for more patience is asked again after these."""


def pause(attempt: int, asked: str | None = None) -> None:
    """Wait before the next attempt.

    Args:
        attempt: how many there were.
        asked: seconds that the server asked for, as its header says it.
    """
    wanted = float(asked) if asked is not None and asked.isdigit() else 0.1 * 2**attempt
    # Spread, so that clients of a server that comes back do not all come at once.
    time.sleep(min(wanted, LONGEST_WAIT) * random.uniform(0.75, 1.25))
