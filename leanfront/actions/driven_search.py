"""Drive a stored search and keep its files, for Python, the command line and workers alike."""

from __future__ import annotations

from dataclasses import replace

from leanfront.actions.search_files import keep_weights, keeper
from leanfront.actions.shelved_files import ShelvedFiles
from leanfront.core import search as searching
from leanfront.core.search import Run, SearchRecord
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.locations import open_shelf


def drive_search(
    target: Target,
    store: FrontierStore,
    name: str,
    run: Run,
    *,
    trials: int | None = None,
    minutes: float | None = None,
) -> SearchRecord:
    """Drive a stored search from wherever it is; arguments and errors are those of `leanfront.core.search.resume`.

    Args:
        store: store under the lease of the process that drives.
        run: where the search runs, and who watches; its files are set here.
    """
    record, shelf = store.search(name), open_shelf(store)
    run = replace(
        run,
        keep=keeper(shelf),
        files=ShelvedFiles(store, shelf),
        artifact=(record.prepared and record.artifact) or keep_weights(shelf, name, target),
    )
    return searching.resume(target, store, name, run, trials=trials, minutes=minutes)
