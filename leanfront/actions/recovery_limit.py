"""Option of a recovery that does not decide the weights: its time."""

from __future__ import annotations

from dataclasses import dataclass

from leanfront.core.search.options import LONGEST_MINUTES, MOST_RECOVERED
from leanfront.options import Options, option


@dataclass(frozen=True, kw_only=True)
class RecoveryLimit(Options):
    """How long recoveries may take."""

    minutes: float | None = option(
        None,
        "Wall-clock limit of all trainings together. Without it, a named candidate is trained to the end, and of a "
        f"search the {MOST_RECOVERED} most promising candidates.",
        above=0,
        most=LONGEST_MINUTES,
    )
