"""Records of queued searches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leanfront.core.objectives.objective import resolve
from leanfront.core.search.candidate import SearchRecord
from leanfront.core.search.options import SearchOptions

if TYPE_CHECKING:
    from leanfront.core.targets import Target

SETTINGS_VERSION = 2


def reference_of(target: Target) -> str:
    """Return the reference stored with a search: the target's, or a name for a Python object of this process."""
    return target.reference or f"python:{target.name or type(target.model).__name__}"


def queued(name: str, target: str, options: SearchOptions, *, registered: str | None = None) -> SearchRecord:
    """Return the record of a search whose target has not been loaded yet.

    Args:
        name: name of the search.
        target: reference of the target.
        options: options of the search.
        registered: registered name of the target, if it has one.
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
