"""What an audit is asked for: which candidates, which kinds, and what may be asked over a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from leanfront.core.audit import KINDS, PATHS, AuditOptions
from leanfront.errors import UsageError

if TYPE_CHECKING:
    from leanfront.core.search import Candidate
    from leanfront.core.storage import FrontierStore
    from leanfront.core.targets import Target

MOST_AUDITED = 8
"""Members of a frontier that are audited where nobody says which."""
DEFAULT_KINDS = ("classes", "exemplars", "calibration", "robustness")
OF_IMAGES = "robustness"
"""The one of them that needs a target whose inputs are made of pixels."""


def default_kinds(target: Target) -> tuple[str, ...]:
    """What is audited where nobody says: all of `DEFAULT_KINDS` that the target allows."""
    return tuple(
        kind for kind in DEFAULT_KINDS if all(getattr(target, need) is not None for need in KINDS[kind].needs)
    )


def spread(frontier: Sequence[Candidate], most: int = MOST_AUDITED) -> list[Candidate]:
    """Members spread evenly over a frontier by accuracy, the most and the least accurate among them."""
    ordered = sorted(frontier, key=lambda each: -(each.accuracy or 0.0))
    if len(ordered) <= most:
        return ordered
    places = {round(place * (len(ordered) - 1) / (most - 1)) for place in range(most)}
    return [ordered[place] for place in sorted(places)]


def choose(store: FrontierStore, name: str, ids: Iterable[int], options: AuditOptions) -> list[Candidate]:
    """The candidates that an audit is about: those named, or, where no levels are either, some of the frontier."""
    named = [store.candidate(each) for each in ids]
    return named if named or options.levels else spread(store.frontier(name))


def require_auditable(candidates: Sequence[Candidate], name: str) -> None:
    """Refuse candidates that are another search's, or that nothing is known of.

    Raises:
        UsageError: naming the candidate.
    """
    for candidate in candidates:
        if candidate.search != name:
            raise UsageError(
                f"candidate {candidate.id} is of search '{candidate.search}', not of '{name}': audit the candidates "
                "of one search at a time"
            )
        if candidate.state != "complete":
            raise UsageError(f"candidate {candidate.id} is {candidate.state}: only complete ones are audited")


def require_no_paths(options: AuditOptions) -> None:
    """Refuse options that name files: over the network nobody may.

    Raises:
        UsageError: naming the option.
    """
    named = [path for path in PATHS if getattr(options, path) is not None]
    if named:
        raise UsageError(f"'{named[0]}' names files: only who can type commands may give it")
