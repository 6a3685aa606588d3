"""A search as it is stored before anybody has looked at its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leanfront.core.objectives.objective import resolve
from leanfront.core.search.candidate import SearchRecord
from leanfront.core.search.options import SETTINGS_VERSION, SearchOptions

if TYPE_CHECKING:
    from leanfront.core.targets import Target


def reference_of(target: Target) -> str:
    """What a search stores as its target: its reference, or a name for what only this process has."""
    return target.reference or f"python:{target.name or type(target.model).__name__}"


def queued(name: str, target: str, options: SearchOptions, *, registered: str | None = None) -> SearchRecord:
    """A search as it is stored before anybody has looked at its target.

    Args:
        name: of the search.
        target: the target's reference.
        options: how to search; where it will run is not stored.
        registered: the operator's name for the target, if it has one.
    """
    settings = {"version": SETTINGS_VERSION, "request": options.to_json(), "trials": options.trials}
    return SearchRecord(
        name=name,
        target=target,
        fingerprint="",
        objectives=tuple(objective.name for objective in resolve(options.objectives)),
        reference={},
        settings=settings if registered is None else {**settings, "registered": registered},
        seed=options.seed,
        state="queued",
    )
