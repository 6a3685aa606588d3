"""Functions of the Python interface that run, resume and open searches."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from leanfront.actions.driven_search import drive_search
from leanfront.actions.lease_renewal import LeaseRenewal
from leanfront.actions.space_bounds import bounded
from leanfront.core import search as searching
from leanfront.core.search import Place, Prepared, Run, SearchOptions
from leanfront.core.storage import FrontierStore, runner_name
from leanfront.core.targets import Target, check_reference, resolve
from leanfront.core.targets.repetition import resolve_twice
from leanfront.errors import LeaseLostError, StorageError, TargetError
from leanfront.local.search_result import SearchResult
from leanfront.locations import open_store
from leanfront.options import divided, takes
from leanfront.reports.progress import bar


@takes(SearchOptions, Place)
def search(
    target: Target | str,
    *,
    name: str | None = None,
    database: str | None = None,
    progress: bool = False,
    **options: Any,
) -> SearchResult:
    """Search compressed versions of a model and keep the frontier in a database.

    Args:
        target: a `Target`, or a reference: the name of a built-in one with its options, or
            ``path/to/file.py:function``.
        name: name of the search; made from the target's name when None.
        database: URL; when None, `LEANFRONT_DATABASE` or a SQLite file in the working folder.
        progress: show a progress bar on standard error.
        options: see `leanfront.core.search.SearchOptions` and `leanfront.core.search.Place`.

    Raises:
        LeanfrontError: see `leanfront.errors` for the tree.
    """
    asked, place = divided(options, SearchOptions, Place)
    resolved = resolve_twice(target) if isinstance(target, str) else target
    store = open_store(database)
    return run_search(resolved, store, bounded(store, asked), place, name=name, progress=progress)


def run_search(
    target: Target,
    store: FrontierStore,
    options: SearchOptions,
    place: Place | None = None,
    *,
    name: str | None = None,
    prepared: Prepared | None = None,
    progress: bool = False,
) -> SearchResult:
    """Run a search on an open store; shared by `search` and the command line."""
    name = name or free_name(store, target.name or "search")
    reference = searching.reference_of(target)
    # Stored before anything slow, so that the name is taken and a killed process can be resumed.
    store.create_search(replace(searching.queued(name, reference, options), state="running"))
    try:
        _drive(target, store, name, Run(place=place or Place(), prepared=prepared), progress)
    except BaseException:
        # A search that was never prepared is useless.
        _forget(store, name)
        raise
    return SearchResult(store, name, target)


def _drive(target: Target, store: FrontierStore, name: str, run: Run, progress: bool, **more: Any) -> None:
    """Drive a stored search in this process, under a lease that keeps other processes away."""
    record = store.search(name)
    lease = store.jobs.drive(name, runner_name())
    with (
        LeaseRenewal(store.jobs, lease) as renewal,
        bar(more.get("trials") or record.goal, shown=progress) as report,
    ):
        watched = replace(run, report=report, stop=lambda: renewal.over)
        done = drive_search(target, store.under(lease), name, watched, **more)
        if done.state == "running":
            if not renewal.cancelled:
                raise LeaseLostError(
                    f"search '{name}' is driven by another process now, or its database is gone"
                )
            store.jobs.finish(lease, "cancelled", "cancelled")


def _forget(store: FrontierStore, name: str) -> None:
    """Delete a search if it was never prepared."""
    with suppress(StorageError):
        if not store.search(name).prepared:
            store.set_state(name, "cancelled")
            store.delete_search(name)


@takes(Place)
def resume(
    name: str,
    *,
    target: Target | str | None = None,
    database: str | None = None,
    trials: int | None = None,
    minutes: float | None = None,
    progress: bool = False,
    **options: Any,
) -> SearchResult:
    """Resume a stored search.

    Args:
        name: name of the search.
        target: the target or its reference, if it moved; the stored reference when None.
        database: URL; when None, `LEANFRONT_DATABASE` or a SQLite file in the working folder.
        trials: new number of trials to reach.
        minutes: wall-clock limit from now.
        progress: show a progress bar on standard error.
        options: see `leanfront.core.search.Place`.

    Raises:
        NotFoundError: the search does not exist.
        TargetError: the target is not the one the search was made on.
    """
    place = Place.read(options)
    store = open_store(database)
    record = store.search(name)
    if target is None and record.target.startswith("python:"):
        raise TargetError(f"search '{name}' was made on a Python object; pass it as target=...")
    if not isinstance(target, Target):
        # A prepared search knows what its target was.
        target = (resolve if record.prepared else resolve_twice)(target or record.target)
    _drive(target, store, name, Run(place=place), progress, trials=trials, minutes=minutes)
    return SearchResult(store, name, target)


def open_search(
    name: str, *, database: str | None = None, target: Target | str | None = None
) -> SearchResult:
    """Open a stored search.

    Args:
        name: name of the search.
        database: URL; when None, `LEANFRONT_DATABASE` or a SQLite file in the working folder.
        target: target of the search, or a reference, which is loaded when needed; the stored reference when None.

    Raises:
        NotFoundError: the search does not exist.
        UsageError: an unknown built-in target or option, or a file without a function.
    """
    store = open_store(database)
    store.search(name)
    if isinstance(target, str):
        check_reference(target)
    return SearchResult(store, name, partial(resolve, target) if isinstance(target, str) else target)


def free_name(store: FrontierStore, stem: str) -> str:
    """Return the first of `stem`, `stem-2`, `stem-3`, ... that no search has."""
    taken = {record.name for record in store.searches()}
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in stem)[:80].strip("-") or "search"
    for number in itertools.count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        if name not in taken:
            return name
    raise AssertionError("unreachable")
