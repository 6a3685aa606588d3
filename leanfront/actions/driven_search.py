"""Driving of stored searches, with storage of their files; for Python, the command line and workers."""

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
    """Drive a stored search from its current state; other arguments and errors as `leanfront.core.search.resume`.

    Args:
        store: store under the lease of this process.
        run: place and callbacks of the run; its files are set here.
    """
    record, shelf = store.search(name), open_shelf(store)
    run = replace(
        run,
        keep=keeper(shelf),
        files=ShelvedFiles(store, shelf),
        artifact=(record.prepared and record.artifact) or keep_weights(shelf, name, target),
    )
    return searching.resume(target, store, name, run, trials=trials, minutes=minutes)
