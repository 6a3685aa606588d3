"""Progress of a search."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Progress of a search.

    Args:
        trials: number of stored trials.
        goal: number of wanted trials.
        frontier_size: number of frontier members.
        hypervolume: hypervolume of the frontier, with costs divided by the reference.
        hypervolume_log2: hypervolume with costs as log2(reference / cost).
        stage: ``trials``, ``test``, ``latency`` or ``recovery``.
        stopped: number of candidates that lost their race.
    """

    trials: int
    goal: int
    frontier_size: int
    hypervolume: float
    hypervolume_log2: float
    stage: str = "trials"
    stopped: int = 0
