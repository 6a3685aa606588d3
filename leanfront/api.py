"""The Python face: search, resume, look at results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import search as searching
from compressors.calibration import SAMPLES
from cost_models import LatencyOptions
from leanfront.candidates import Candidate, Candidates
from leanfront.database import open_shelf, open_store
from leanfront.holding import Holding
from leanfront.keeping import keep_weights, keeper
from leanfront.progress import bar, counted
from leanfront.recovering import ShelvedFiles, recover_many, settings_of
from leanfront.verifying import Verifier
from objectives import Budget, Selection
from search import Prepared, Recoverer, SearchOptions, SearchRecord, SpaceOptions, Verification
from search.racing import FALSE_ELIMINATION
from search.recovering import MOST
from storage import FrontierStore, runner_name
from targets import Target, resolve
from targets.errors import InfeasibleError, LeaseLostError, NotFoundError, StorageError, TargetError


class SearchResult:
    """A stored search: its frontier and the answers to budget queries.

    Args:
        store: where the search is.
        name: of the search.
        target: the target or a function that gives it; None resolves the stored reference when it is needed.
    """

    def __init__(
        self, store: FrontierStore, name: str, target: Target | Callable[[], Target] | None = None
    ) -> None:
        self._store = store
        self.name = name
        self._target = target
        self._verifiers: dict[str, Verifier] = {}

    @property
    def record(self) -> SearchRecord:
        """The search as stored now: state, trials, hypervolume, dense model, coverage."""
        return self._store.search(self.name)

    def target(self) -> Target:
        """The search's target.

        Raises:
            TargetError: it cannot be made again, or is another one by now.
        """
        if self._target is None:
            reference = self.record.target
            if reference.startswith("python:"):
                raise TargetError(
                    f"search '{self.name}' was made on a Python object; open it with target=..."
                )
            self._target = resolve(reference)
        target = self._target if isinstance(self._target, Target) else self._target()
        self._target = target
        if target.fingerprint != self.record.fingerprint:
            raise TargetError(f"the target at hand is not the one search '{self.name}' was made on")
        return target

    def _samples(self) -> int:
        """Calibration samples that its candidates were made with: asked for when one is made again."""
        return int(self.record.settings.get("samples", SAMPLES))

    def frontier(self, *, weak: bool = False, stage: str = "after", **limits: Any) -> Candidates[Candidate]:
        """Nondominated candidates within limits, cheapest memory first.

        Args:
            weak: the weakly nondominated ones too.
            stage: among the candidates ``before`` recovery, or ``after``: the recovered ones too.
            limits: arguments of `Budget.of`: ``max_memory="64KB"``, ``max_macs="20M"``, ``min_accuracy=0.9``,
                and ``maximum`` and ``minimum``, mappings from any measurement's name to its limit.
        """
        return self._own(self._store.frontier(self.name, Budget.of(**limits), weak=weak, stage=stage))

    def candidate(self, identifier: int) -> Candidate:
        """The candidate with that id. Raises `NotFoundError`: this search has none."""
        found = self._store.candidate(identifier)
        if found.search != self.name:
            raise NotFoundError(
                f"candidate {identifier} is one of search '{found.search}', not of '{self.name}'"
            )
        return self._own([found])[0]

    def candidates(self) -> Candidates[Candidate]:
        """All complete candidates, by id."""
        return self._own(self._store.candidates(self.name))

    def selection(
        self,
        *,
        strategy: str = "accuracy",
        stage: str = "after",
        order: Sequence[str] | None = None,
        tolerance: float | Mapping[str, float] | None = None,
        weights: Mapping[str, float] | None = None,
        **limits: Any,
    ) -> Selection[Any]:
        """The whole answer to a budget query, infeasible ones included.

        Args:
            strategy: accuracy, knee, lexicographic or chebyshev.
            stage: as in `frontier`.
            order: lexicographic: objectives, most important first.
            tolerance: lexicographic: how much counts as equal, in the objective's unit.
            weights: chebyshev: objective -> weight.
            limits: as in `frontier`.
        """
        return self._store.select(
            self.name,
            Budget.of(**limits),
            strategy=strategy,
            stage=stage,
            order=order,
            tolerance=tolerance,
            weights=weights,
        )

    def select(self, **limits: Any) -> Candidate:
        """The candidate to ship within a budget; arguments as in `selection`.

        Raises:
            InfeasibleError: no candidate holds the budget; the message names the nearest and the binding
                limit, and `.selection` holds the whole answer.
        """
        answer = self.selection(**limits)
        if not answer.feasible:
            raise InfeasibleError(infeasible_text(answer), answer)
        return self._own([answer.candidate])[0]

    def verifier(self, device: str = "auto") -> Verifier:
        """What verifies the search's candidates, made once.

        Raises:
            TargetError: the target cannot be made again, or is another one by now.
        """
        if device not in self._verifiers:
            shelf = open_shelf(self._store)
            verifier = Verifier(self._store, shelf, self.target(), self._samples(), device)
            self._verifiers[device] = verifier
        return self._verifiers[device]

    def verify(
        self, *, all: bool = False, device: str = "auto", progress: bool = False
    ) -> list[Verification]:
        """Verify the frontier's members, and store what came of it.

        Args:
            all: every complete candidate.
            device: where they are evaluated: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            progress: show a progress bar on standard error.

        Raises:
            TargetError: the target cannot be made again, or is another one by now.
        """
        wanted = self.candidates() if all else self.frontier()
        with counted(len(wanted), "candidate", shown=progress) as done:
            found = []
            for verification in self.verifier(device).each(wanted):
                found.append(verification)
                done()
        return found

    def recoverer(self, device: str = "auto") -> Recoverer:
        """What recovers the search's candidates.

        Raises:
            TargetError: the target cannot be made again, or is another one by now.
        """
        files = ShelvedFiles(self._store, open_shelf(self._store))
        return Recoverer(self._store, self.name, self.verifier(device).evaluator, files)

    def recover(
        self,
        *,
        epochs: int = 3,
        minutes: float | None = None,
        seed: int = 0,
        device: str = "auto",
        progress: bool = False,
        **settings: Any,
    ) -> Candidates[Candidate]:
        """Recover members of the frontier, the one with the most expected hypervolume a minute first.

        Those that were recovered so before are passed over. Arguments and errors as of `Candidate.recover`, but:

        Args:
            minutes: that all together may take; without, the 8 best are recovered.

        Returns:
            The recovered candidates; those of which nothing was gained are left out.
        """
        pool = self._store.frontier(self.name, stage="before")
        attempts = recover_many(
            self.recoverer(device),
            pool,
            settings_of(epochs, seed, **settings),
            minutes,
            all=False,
            most=MOST if minutes is None else None,
            progress=progress,
        )
        return self._own(each.gained for each in attempts if each.gained is not None)

    def _own(self, candidates: Iterable[Any]) -> Candidates[Candidate]:
        own: Candidates[Candidate] = Candidates()
        for candidate in candidates:
            values = {f.name: getattr(candidate, f.name) for f in fields(searching.Candidate)}
            own.append(
                Candidate(
                    **values,
                    target=self.target,
                    samples=self._samples,
                    verifier=self.verifier,
                    recoverer=self.recoverer,
                )
            )
        return own


def infeasible_text(selection: Selection[Any]) -> str:
    """An infeasible answer as a sentence or two."""
    nearest = selection.nearest
    if nearest is None:
        return "no candidate holds the budget: there is no measured candidate yet"
    over = ", ".join(
        f"{name} off by {value:,.6g}" if math.isfinite(value) else f"{name} was not measured"
        for name, value in selection.violations.items()
    )
    text = f"no candidate holds the budget; the nearest is {nearest.id} ({over}); {selection.binding} binds"
    floor = (selection.cheapest or {}).get(selection.binding or "")
    return text if floor is None else f"{text}; the space reaches no less than {floor:,.6g}"


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
    with Holding(store.jobs, lease) as holding:
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
                stop=lambda: holding.over,
                keep=keeper(shelf),
                files=ShelvedFiles(own, shelf),
                **where,
                **changes,
            )
        if done.state == "running":
            if not holding.cancelled:
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
