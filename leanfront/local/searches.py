"""The Python face: search, resume, look at results."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from leanfront.actions.lease_renewal import LeaseRenewal
from leanfront.actions.search_files import keep_weights, keeper
from leanfront.actions.shelved_files import ShelvedFiles
from leanfront.core import search as searching
from leanfront.core.cost_models import LatencyOptions
from leanfront.core.search import Prepared, SearchOptions, SpaceOptions
from leanfront.core.search.racing import FALSE_ELIMINATION
from leanfront.core.storage import FrontierStore, runner_name
from leanfront.core.targets import Target, resolve
from leanfront.errors import LeaseLostError, StorageError, TargetError
from leanfront.local.search_result import SearchResult
from leanfront.locations import open_shelf, open_store
from leanfront.reports.progress import bar


def search(
    target: Target | str,
    *,
    name: str | None = None,
    trials: int = 200,
    minutes: float | None = None,
    database: str | None = None,
    objectives: Sequence[str] | str = ("accuracy", "memory", "macs"),
    bits: Sequence[int] = (2, 3, 4, 5, 6, 8),
    criterion: str = "reconstruction",
    method: str = "sequential",
    sparsity: str = "none",
    activation_bits: str = "float",
    sampler: str = "auto",
    seed: int = 0,
    workers: int = 1,
    device: str = "auto",
    cluster: str | None = None,
    samples: int = 512,
    false_elimination: float = FALSE_ELIMINATION,
    latency_backend: str | None = None,
    latency_threads: int | None = None,
    latency_batch: int | None = None,
    recover: int | None = None,
    recover_minutes: float | None = None,
    metrics: Sequence[str] = (),
    progress: bool = False,
) -> SearchResult:
    """Search compressed versions of a model and keep the frontier in a database.

    Args:
        target: a `Target`, or a reference: built-in name with options, or ``path/to/file.py:function``.
        name: of the search; made from the target's name when None.
        trials: configurations to try.
        minutes: wall-clock limit.
        database: URL; `LEANFRONT_DATABASE` or a SQLite file in the working folder when None.
        objectives: names of costs and metrics.
        bits: weight bit-widths to choose from: 2..8, 16 or 32.
        criterion: ranks channels and weights.
        method: makes the kept weights: ``sequential`` (the best), ``bank`` (faster), ``rounding`` (plain).
        sparsity: ``none``, ``unstructured`` or ``2:4``.
        activation_bits: ``float``, ``8`` or ``search``.
        sampler: ``auto``, ``nsga2``, ``nsga3``, ``tpe`` or ``random``.
        seed: the same seed gives the same trials with one worker.
        workers: processes; a script that uses more than one must be guarded by ``if __name__ == "__main__"``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        cluster: address of a Dask scheduler (``tcp://HOST:8786``) whose workers evaluate.
        samples: calibration samples.
        false_elimination: largest share of candidates better than the frontier point they race against that
            may be stopped early; 0 evaluates every candidate on the whole validation split.
        latency_backend: what latency is measured in: ``onnxruntime`` (the default) or ``torch``. Given any of these
            three, or `latency` as an objective, every candidate has a predicted latency, and those on the frontier
            a measured one.
        latency_threads: of one run; 1 by default.
        latency_batch: inputs of one run; 1 by default.
        recover: epochs that the frontier's most promising members are trained for, in this process, when the trials
            are done; None for no training.
        recover_minutes: that this may take, on top of `minutes`; without, 8 are trained.
        metrics: that every candidate which is evaluated to its end is measured by, beside the objectives and those
            that cost nothing: ``mce``, ``flip_rate``.
        progress: show a progress bar on standard error.

    Raises:
        LeanfrontError: see `leanfront.errors` for the tree.
    """
    options = SearchOptions(
        trials=trials,
        minutes=minutes,
        objectives=tuple(o.strip() for o in objectives.split(","))
        if isinstance(objectives, str)
        else tuple(objectives),
        space=SpaceOptions(tuple(bits), activation_bits, sparsity, criterion, method, seed=seed),
        sampler=sampler,
        seed=seed,
        workers=workers,
        device=device,
        cluster=cluster,
        samples=samples,
        false_elimination=false_elimination,
        latency=LatencyOptions.of(latency_backend, latency_threads, latency_batch),
        recover=recover,
        recover_minutes=recover_minutes,
        metrics=tuple(metrics),
    )
    resolved = resolve(target) if isinstance(target, str) else target
    store = open_store(database)
    return run_search(resolved, store, options, name=name, progress=progress)


def run_search(
    target: Target,
    store: FrontierStore,
    options: SearchOptions,
    *,
    name: str | None = None,
    prepared: Prepared | None = None,
    progress: bool = False,
) -> SearchResult:
    """Run a search on an open store: what `search` and the command line share."""
    name = name or free_name(store, target.name or "search")
    reference = searching.reference_of(target)
    # Stored before anything takes time: the name is taken, and a killed process can be gone on from.
    store.create_search(replace(searching.queued(name, reference, options), state="running"))
    try:
        _drive(target, store, name, options, prepared, progress)
    except BaseException:
        # What was not even begun is no search that a user would look for.
        _forget(store, name)
        raise
    return SearchResult(store, name, target)


def _drive(
    target: Target,
    store: FrontierStore,
    name: str,
    options: SearchOptions | None,
    prepared: Prepared | None,
    progress: bool,
    **changes: Any,
) -> None:
    """Drive a stored search in this process, so that no other does."""
    record = store.search(name)
    where = (
        {} if options is None else {key: getattr(options, key) for key in ("workers", "device", "cluster")}
    )
    lease = store.jobs.drive(name, runner_name())
    with LeaseRenewal(store.jobs, lease) as renewal:
        shelf, own = open_shelf(store), store.under(lease)
        artifact = (record.prepared and record.artifact) or keep_weights(shelf, name, target)
        with bar(changes.get("trials") or record.goal, shown=progress) as report:
            done = searching.go_on(
                target,
                own,
                name,
                artifact=artifact,
                prepared=prepared,
                report=report,
                stop=lambda: renewal.over,
                keep=keeper(shelf),
                files=ShelvedFiles(own, shelf),
                **where,
                **changes,
            )
        if done.state == "running":
            if not renewal.cancelled:
                raise LeaseLostError(
                    f"search '{name}' is driven by another process by now, or its database is gone"
                )
            store.jobs.finish(lease, "cancelled", "cancelled")


def _forget(store: FrontierStore, name: str) -> None:
    """Delete a search of which nothing is known yet."""
    with suppress(StorageError):
        if not store.search(name).prepared:
            store.set_state(name, "cancelled")
            store.delete_search(name)


def resume(
    name: str,
    *,
    target: Target | str | None = None,
    database: str | None = None,
    trials: int | None = None,
    minutes: float | None = None,
    workers: int = 1,
    device: str = "auto",
    cluster: str | None = None,
    progress: bool = False,
) -> SearchResult:
    """Go on with a stored search.

    Args:
        name: of the search.
        target: where it is now; the stored reference when None.
        trials: a new number of trials to reach.

    Raises:
        NotFoundError: no such search.
        TargetError: the target is not the one the search was made on.
    """
    store = open_store(database)
    record = store.search(name)
    if target is None and record.target.startswith("python:"):
        raise TargetError(f"search '{name}' was made on a Python object; pass it as target=...")
    resolved = target if isinstance(target, Target) else resolve(target or record.target)
    _drive(
        resolved,
        store,
        name,
        None,
        None,
        progress,
        trials=trials,
        minutes=minutes,
        workers=workers,
        device=device,
        cluster=cluster,
    )
    return SearchResult(store, name, resolved)


def open_search(name: str, *, database: str | None = None, target: Target | None = None) -> SearchResult:
    """A stored search.

    Raises:
        NotFoundError: no such search.
    """
    store = open_store(database)
    store.search(name)
    return SearchResult(store, name, target)


def free_name(store: FrontierStore, stem: str) -> str:
    """`stem`, or `stem-2`, `stem-3`, ...: the first name no search has."""
    taken = {record.name for record in store.searches()}
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in stem)[:80].strip("-") or "search"
    for number in itertools.count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        if name not in taken:
            return name
    raise AssertionError("unreachable")
