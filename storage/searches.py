"""Look-up of searches by name, and checks of names and states."""

from __future__ import annotations

import unicodedata

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from leanfront.core.search.candidate import STATES
from leanfront.core.storage.tables import SearchRow
from leanfront.errors import NotFoundError, UsageError

LONGEST_NAME = 100
_LISTED = 20


def require_name(name: str) -> None:
    """Refuse a search name that cannot be typed, shown or put into a URL.

    Raises:
        UsageError: the name is blank, not 1 to 100 characters long, or has control characters or '/'.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME or not name.strip():
        raise UsageError(f"a search's name has 1 to {LONGEST_NAME} characters, not {name!r}")
    # Control characters, lone surrogates, and line and paragraph separators.
    bad = [sign for sign in name if sign == "/" or unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")]
    if bad:
        raise UsageError(
            f"a search's name must not contain {bad[0]!r}: {name!r}; use letters, digits, '-', '_'"
        )


def require_state(state: str) -> None:
    """Refuse an unknown state of a search. Raises `UsageError`."""
    if state not in STATES:
        raise UsageError(f"a search's state is one of {', '.join(STATES)}, not {state!r}")


COUNTERS = (
    SearchRow.id,
    SearchRow.name,
    SearchRow.trials,
    SearchRow.frontier_size,
    SearchRow.frontier_version,
    SearchRow.measured_version,
)
"""Columns that change with every trial; the rest of a row is far larger."""


def find_search(session: Session, name: str, *, lock: bool = False, counters: bool = False) -> SearchRow:
    """Return the row of a search.

    Args:
        lock: lock the row until the transaction ends.
        counters: load only `COUNTERS` now; other columns are loaded on access.

    Raises:
        NotFoundError: the search does not exist; the message lists those that do.
    """
    wanted = select(SearchRow).where(SearchRow.name == name)
    if counters:
        wanted = wanted.options(load_only(*COUNTERS))
    row = session.scalar(wanted.with_for_update() if lock else wanted)
    if row is not None:
        return row
    names = list(session.scalars(select(SearchRow.name).order_by(SearchRow.id.desc()).limit(_LISTED + 1)))
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    raise NotFoundError(
        f"no search named {name!r}; there are: {listed}"
        if names
        else f"no search named {name!r}: the database has none yet; start one with `leanfront search`"
    )
