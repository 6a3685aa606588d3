"""Choice of candidates and kinds for an audit, and checks of audits requested over a network."""

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
"""Number of frontier members that are audited by default."""
DEFAULT_KINDS = ("classes", "exemplars", "calibration", "robustness")
OF_IMAGES = "robustness"
"""The default kind that needs a target with images as inputs."""


def default_kinds(target: Target) -> tuple[str, ...]:
    """Return the kinds to audit by default: those of `DEFAULT_KINDS` that the target allows."""
    return tuple(
        kind for kind in DEFAULT_KINDS if all(getattr(target, need) is not None for need in KINDS[kind].needs)
    )


def spread(frontier: Sequence[Candidate], most: int = MOST_AUDITED) -> list[Candidate]:
    """Return members spread evenly over a frontier by accuracy, including the most and the least accurate."""
    ordered = sorted(frontier, key=lambda each: -(each.accuracy or 0.0))
    if len(ordered) <= most:
        return ordered
    places = {round(place * (len(ordered) - 1) / (most - 1)) for place in range(most)}
    return [ordered[place] for place in sorted(places)]


def choose(store: FrontierStore, name: str, ids: Iterable[int], options: AuditOptions) -> list[Candidate]:
    """Return the candidates to audit: those with `ids`; if there are neither ids nor levels, some of the frontier."""
    named = [store.candidate(each) for each in ids]
    return named if named or options.levels else spread(store.frontier(name))


def require_auditable(candidates: Sequence[Candidate], name: str) -> None:
    """Refuse candidates that belong to another search or are not complete.

    Raises:
        UsageError: a candidate is refused; the message names it.
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
    """Refuse options that name files, which are not allowed over a network.

    Raises:
        UsageError: an option names a file; the message names the option.
    """
    named = [path for path in PATHS if getattr(options, path) is not None]
    if named:
        raise UsageError(f"'{named[0]}' names files: only who can type commands may give it")
