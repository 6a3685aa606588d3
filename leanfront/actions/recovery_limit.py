"""Time limit of recoveries: an option that does not determine the weights."""

from __future__ import annotations

from dataclasses import dataclass

from leanfront.core.search.options import LONGEST_MINUTES, MOST_RECOVERED
from leanfront.options import Options, option


@dataclass(frozen=True, kw_only=True)
class RecoveryLimit(Options):
    """Time limit of recoveries."""

    minutes: float | None = option(
        None,
        "Wall-clock limit of all trainings together. Without it, candidates given by id are trained to the end; of a "
        f"whole search, only the {MOST_RECOVERED} most promising candidates are.",
        above=0,
        most=LONGEST_MINUTES,
    )
