"""What a run of a search is given, beside the search itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from leanfront.core.search.options import Place

if TYPE_CHECKING:
    from leanfront.core.search.prepared_target import Prepared
    from leanfront.core.search.progress import Progress
    from leanfront.core.search.recovering import Files


def _untold(progress: Progress) -> None:
    """For runs whose progress nobody watches."""


def _never() -> bool:
    return False


def _drop(candidate: int, content: bytes) -> None:
    """For runs that keep no files."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where a search runs, who watches it, and where its files go.

    Args:
        place: processes and device.
        report: called with the progress after every trial.
        stop: called often; when it returns true, nothing new is started and the search is left as it is.
        keep: called with the id and the packed file of every candidate that joins the frontier.
        files: stored files; needed by a search that recovers.
        prepared: the prepared target, when there is one already.
        artifact: content hash of the stored dense weights.
    """

    place: Place = field(default_factory=Place)
    report: Callable[[Progress], None] = _untold
    stop: Callable[[], bool] = _never
    keep: Callable[[int, bytes], None] = _drop
    files: Files | None = None
    prepared: Prepared | None = None
    artifact: str | None = None
