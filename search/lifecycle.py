"""Start and resume of searches: everything between a target and its driver."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from leanfront.core.compressors import Sensitivities
from leanfront.core.objectives import objective_values, resolve
from leanfront.core.search.attempt import RecoveryProgress
from leanfront.core.search.candidate import SearchRecord
from leanfront.core.search.cluster import ClusterEvaluators
from leanfront.core.search.context import SamplerContext
from leanfront.core.search.description import Ready, describe, restore
from leanfront.core.search.driver import Driver, Front
from leanfront.core.search.evaluator_spec import share, spec_of
from leanfront.core.search.evaluators import Evaluators, LocalEvaluators
from leanfront.core.search.failures import Failures
from leanfront.core.search.interrupting import interruptible
from leanfront.core.search.latency import EACH, measure_frontier
from leanfront.core.search.options import Place, SearchOptions, resolve_device
from leanfront.core.search.pool import PoolEvaluators
from leanfront.core.search.recovering import Recoverer
from leanfront.core.search.request import queued, reference_of
from leanfront.core.search.run import Run
from leanfront.core.search.seeds import seeds
from leanfront.core.search.store_protocol import Store
from leanfront.core.search.study import SearchStudy
from leanfront.core.targets import Target
from leanfront.errors import StorageError, UsageError

TELL = 1.0
"""Seconds between two reports of a training, which has many steps."""


def start(
    target: Target, store: Store, name: str, options: SearchOptions, run: Run | None = None
) -> SearchRecord:
    """Create a search and run it until it is done, its time is over, or `run.stop` returns true.

    Args:
        target: target to compress.
        store: store of the search.
        name: name of the search; must be free.
        options: options of the search.
        run: place and callbacks of the run.

    Returns:
        The stored search: done, or still running if it was stopped.

    Raises:
        NameTakenError: the name exists; nothing is changed.
        KeyboardInterrupt: after the search was marked as cancelled; it can be resumed.
    """
    begin, run = time.monotonic(), run or Run()
    record = replace(queued(name, reference_of(target), options), state="running", artifact=run.artifact)
    ready = describe(target, record, options, run)
    store.create_search(ready.record)
    return _drive(store, ready, run, begin)


def resume(
    target: Target,
    store: Store,
    name: str,
    run: Run | None = None,
    *,
    trials: int | None = None,
    minutes: float | None = None,
) -> SearchRecord:
    """Drive a stored search: from the start if it was only queued, otherwise as if it had never stopped.

    Args:
        target: target of the search; its fingerprint must equal the stored one.
        store: store of the search.
        name: name of the search.
        run: place and callbacks of the run.
        trials: new number of trials to reach; by default that of the search.
        minutes: wall-clock limit from now; by default that of the search if it was only queued, otherwise none.

    Raises:
        NotFoundError: the search does not exist.
        TargetError: the target is not the one the search was made on.
        KeyboardInterrupt: after the search was marked as cancelled; it can be resumed.
    """
    begin, run = time.monotonic(), run or Run()
    record = store.search(name)
    if record.prepared:
        # Refused values leave the search as it is.
        options = replace(_changed(record.options, trials=trials), minutes=minutes)
        ready = replace(restore(target, record, run), options=options)
        store.set_state(name, "running")
    else:
        options = _changed(record.options, trials=trials, minutes=minutes)
        ready = describe(target, replace(record, artifact=run.artifact), options, run)
        ready = replace(ready, record=store.prepare_search(ready.record))
    return _drive(store, ready, run, begin)


def _changed(options: SearchOptions, **changes: float | None) -> SearchOptions:
    return replace(options, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]


def _drive(store: Store, ready: Ready, run: Run, begin: float) -> SearchRecord:
    record, options, prepared = ready.record, ready.options, ready.prepared
    name, objectives = record.name, resolve(record.objectives)
    context = _context(ready)
    study = SearchStudy(
        context, sampler_name=options.sampler, seed=options.seed, seeds=_seeds(context, options.sampler)
    )
    trials = store.trials(name)
    study.rebuild(trials)
    recovered = [each for each in store.frontier(name) if each.parent is not None]
    values_of = [objective_values(objectives, each.measurements)[0] for each in recovered]
    front = Front(objectives, record.reference, [each for each in values_of if each is not None])
    correct = store.correctness(name)
    for trial in trials:
        if trial.values is not None and not trial.duplicate and not trial.stopped:
            front.add(trial.values, trial.candidate, correct.get(trial.candidate or 0))
    with _ending(store, name), closing(_evaluators(ready, run.place)) as evaluators:
        driver = Driver(
            store,
            name,
            prepared,
            study,
            front,
            evaluators,
            trials=trials,
            false_elimination=options.false_elimination,
            run=run,
            failures=Failures(prepared.space, store.candidates(name, failed=True) if trials else ()),
        )
        deadline = None if options.minutes is None else begin + 60 * options.minutes
        test = prepared.target.test
        share = 0.0 if test is None else len(test) / max(1, len(prepared.target.validation))

        def reserve() -> float:
            # Frontier members must be measured on the test split before the time is over.
            done = driver.progress()
            spent = time.monotonic() - running
            each = spent / max(1, done.trials - len(trials)) if done.trials > len(trials) else 0.0
            timing = 0.0 if prepared.latency is None else done.frontier_size * EACH
            return done.frontier_size * each * share + each + timing

        running = time.monotonic()
        driver.run(options.trials, deadline, reserve)
        if driver.failures.fruitless and not driver.stopped_early:
            store.set_state(name, "failed", driver.failures.message)
            return store.search(name)
        if test is not None and not driver.stopped_early:
            driver.finalists("test")
        if driver.stopped_early:
            return store.search(name)
        ended, note = measure_frontier(
            store,
            name,
            prepared,
            report=lambda: run.report(driver.progress("latency")),
            stop=run.stop,
            deadline=deadline,
        )
        said = [_outcome(driver, options.trials), *([] if note is None else [note])]
        floor = prepared.space.configuration(prepared.space.cheapest).digest
        if any(each.configuration.digest == floor for each in store.frontier(name)):
            said.append(
                "the cheapest configuration of the search space is on the frontier: the space ends there"
            )
        if ended and options.recovery is not None:
            ended, note = _recover(store, ready, driver, run)
            said.append(note)
    if not ended:
        return store.search(name)
    store.set_state(name, "done", "; ".join(said))
    return store.search(name)


def _context(ready: Ready) -> SamplerContext:
    """Return the context that samplers get."""
    record, prepared = ready.record, ready.prepared
    objectives = resolve(record.objectives)
    values = {m.name: m.value for m in record.dense if m.split in ("", "validation")}
    predicted = record.settings.get("sensitivities")
    return SamplerContext(
        prepared.space,
        objectives,
        population=ready.options.generation,
        costs=prepared.costs,
        sensitivities=None if predicted is None else Sensitivities.from_json(predicted),
        reference=record.reference,
        dense={o.name: values[o.measurement] for o in objectives if o.measurement in values},
    )


def _recover(store: Store, ready: Ready, driver: Driver, run: Run) -> tuple[bool, str]:
    """Train the most promising frontier members, in this process wherever evaluations run."""
    options = ready.options
    assert options.recovery is not None
    if run.files is None:
        raise UsageError("a search that recovers needs a place to keep files")
    told = -math.inf

    def tell(progress: RecoveryProgress) -> None:
        nonlocal told
        if time.monotonic() >= told + TELL:
            told = time.monotonic()
            run.report(driver.progress("recovery"))

    recoverer = Recoverer(store, ready.record.name, ready.evaluator, run.files)
    with interruptible() as asked:
        return recoverer.promote_frontier(
            options.recovery, options.recover_minutes, report=tell, stop=lambda: run.stop() or asked()
        )


def _outcome(driver: Driver, wanted: int) -> str:
    """Return the outcome of a search as a sentence."""
    progress = driver.progress()
    message = f"{progress.trials} trials"
    if progress.trials < wanted:
        message = f"{progress.trials} of {wanted} trials: the time limit was reached"
    if progress.stopped:
        message += (
            f"; {progress.stopped} candidates stopped early: they could not beat one that costs no more"
        )
    if driver.failures.message is not None:
        message += f"; {driver.failures.message}"
    if driver.unmeasured:
        reason = next(iter(driver.unmeasured.values()))
        message += f"; {len(driver.unmeasured)} could not be measured on the test split: {reason}"
    return message


@contextmanager
def _ending(store: Store, name: str) -> Iterator[None]:
    """Store the state of a search that is interrupted or fails."""
    try:
        yield
    except KeyboardInterrupt:
        store.set_state(name, "cancelled", "interrupted")
        raise
    except StorageError:
        # The process that now holds the search, or a later run, continues from the stored trials.
        raise
    except Exception as error:
        store.set_state(name, "failed", f"{type(error).__name__}: {error}"[:2000])
        raise


def _seeds(context: SamplerContext, sampler: str) -> Sequence[Mapping[str, int]]:
    """Return the first trials, if the sampler does not choose them itself."""
    # If costs are known, `auto` chooses better first trials itself, since it learns from each.
    own = sampler == "random" or (sampler == "auto" and context.landscape is not None)
    return () if own else seeds(context)


def _evaluators(ready: Ready, place: Place) -> Evaluators:
    if place.workers == 1 and place.cluster is None:
        return LocalEvaluators(ready.evaluator)
    prepared, options = ready.prepared, ready.options
    share(ready.evaluator, prepared.space.configuration(prepared.space.cheapest))
    # A cluster's machines have devices of their own.
    device = place.device if place.cluster is not None else resolve_device(place.device)
    own = spec_of(
        prepared.target, prepared.structure, device, options.samples, place.workers, options.measured
    )
    if place.cluster is not None:
        return ClusterEvaluators(own, place.cluster)
    return PoolEvaluators(own, place.workers)
