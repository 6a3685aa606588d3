"""Arguments of a run of a search, besides the search itself."""

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
    """Ignore the progress of a search."""


def _never() -> bool:
    return False


def _drop(candidate: int, content: bytes) -> None:
    """Discard the file of a candidate."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Place of a run of a search, and its callbacks for progress and files.

    Args:
        place: processes and device.
        report: called with the progress after every trial.
        stop: called often; when it returns true, nothing new is started and the search can be resumed later.
        keep: called with the id and the packed file of every candidate that enters the frontier.
        files: store of candidates' files; required by a search that recovers.
        prepared: the prepared target, if there is one already.
        artifact: content hash of the stored dense weights.
    """

    place: Place = field(default_factory=Place)
    report: Callable[[Progress], None] = _untold
    stop: Callable[[], bool] = _never
    keep: Callable[[int, bytes], None] = _drop
    files: Files | None = None
    prepared: Prepared | None = None
    artifact: str | None = None
