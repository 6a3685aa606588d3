"""The record of a queued search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leanfront.core.objectives.objective import resolve
from leanfront.core.search.candidate import SearchRecord
from leanfront.core.search.options import SearchOptions

if TYPE_CHECKING:
    from leanfront.core.targets import Target

SETTINGS_VERSION = 2


def reference_of(target: Target) -> str:
    """The reference that a search stores: that of the target, or a name for an object of this process."""
    return target.reference or f"python:{target.name or type(target.model).__name__}"


def queued(name: str, target: str, options: SearchOptions, *, registered: str | None = None) -> SearchRecord:
    """The record of a search whose target nobody has looked at yet.

    Args:
        name: name of the search.
        target: reference of the target.
        options: options of the search.
        registered: the operator's name for the target, if it has one.
    """
    settings = {"version": SETTINGS_VERSION, "options": options.to_json()}
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
