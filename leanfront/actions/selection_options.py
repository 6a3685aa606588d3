"""Options of queries: which frontier, which rule, and how much to measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leanfront.actions.measured_selection import MOST_MEASURED
from leanfront.core.objectives import STRATEGIES
from leanfront.core.search.candidate import STAGES
from leanfront.errors import UsageError
from leanfront.options import Options, option


@dataclass(frozen=True, kw_only=True)
class FrontierOptions(Options):
    """Which frontier is asked."""

    stage: str = option(
        "after",
        "Frontier before recovery, or after it with recovered candidates; equal if nothing was recovered.",
        known=STAGES,
    )


@dataclass(frozen=True, kw_only=True)
class SelectionOptions(FrontierOptions):
    """How one of the candidates within a budget is chosen."""

    strategy: str = option(
        "accuracy", "Rule that chooses among the candidates within the limits.", known=STRATEGIES, longest=100
    )
    order: tuple[str, ...] | None = option(
        None, "For lexicographic: objectives, most important first.", fewest=1, examples=("memory,accuracy",)
    )
    tolerance: float | None = option(
        None, "For lexicographic: difference that counts as equal, in each objective's unit.", least=0
    )
    weights: Mapping[str, float] = option(
        {},
        "For chebyshev: weights of objectives, 1 if not given.",
        flag="--weight",
        metavar="OBJECTIVE=VALUE",
    )
    measure: int = option(
        MOST_MEASURED,
        "Largest number of candidates on which limited metrics that are missing are measured, most accurate first; 0 "
        "for none.",
        least=0,
        most=1_000_000,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = {}
        for name, value in dict(self.weights or {}).items():
            try:
                weights[name] = float(value)
            except (TypeError, ValueError):
                raise UsageError(f"the weight of {name} must be a number, not {value!r}") from None
        object.__setattr__(self, "weights", weights)
