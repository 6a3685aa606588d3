"""Names of the measurements of a search, found by probes of the index."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.measurement import SEARCHED_SPLITS
from leanfront.core.storage.memory import Known
from leanfront.core.storage.points import complete
from leanfront.core.storage.tables import MeasurementRow
from leanfront.errors import UsageError


def require_measured(
    session: Session, known: Known, budget: Budget, *, measurable: Collection[str] = ()
) -> None:
    """Refuse a limit on a name that no candidate of the search has measured.

    Args:
        session: session of the transaction.
        known: the search.
        budget: the limits.
        measurable: further names to accept because they can still be measured.

    Raises:
        UsageError: a limit is on an unknown name; the message lists the measured ones.
    """
    names = {objective.measurement for objective in known.objectives} | set(measurable)
    unknown = [
        each for each in budget.names if each not in names and not _is_measured(session, known.id, each)
    ]
    if not unknown:
        return
    if session.scalar(complete(known.id).limit(1)) is None:
        # No candidate has measurements yet; they will have the dense model's.
        names |= known.dense
        unknown = [each for each in unknown if each not in names]
    if unknown:
        listed = ", ".join(sorted({*names, *_measured(session, known.id)}))
        raise UsageError(
            f"cannot limit {', '.join(unknown)}: no candidate of this search has it measured; measured are "
            f"{listed}"
        )


def _measured(session: Session, search: int) -> Iterator[str]:
    """Iterate over the names of measurements; each costs one index probe."""
    name = ""
    wanted = select(func.min(MeasurementRow.name)).where(MeasurementRow.search_id == search)
    while (found := session.scalar(wanted.where(MeasurementRow.name > name))) is not None:
        name = found
        if _is_measured(session, search, name):
            yield name


def _is_measured(session: Session, search: int, name: str) -> bool:
    row = select(MeasurementRow.id).where(
        MeasurementRow.search_id == search,
        MeasurementRow.name == name,
        MeasurementRow.split.in_(SEARCHED_SPLITS),
    )
    return session.scalar(row.limit(1)) is not None
