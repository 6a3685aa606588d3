"""Queue, start and resume searches: everything between a target and its driver."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from leanfront.core.compressors import Sensitivities
from leanfront.core.cost_models import LatencyTable
from leanfront.core.objectives import objective_values, resolve
from leanfront.core.search.attempt import RecoveryProgress
from leanfront.core.search.candidate import SearchRecord
from leanfront.core.search.cluster import ClusterEvaluators
from leanfront.core.search.context import SamplerContext
from leanfront.core.search.description import describe, evaluator_of
from leanfront.core.search.driver import Driver, Front, Progress
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.search.evaluator_spec import share, spec_of
from leanfront.core.search.evaluators import Evaluators, LocalEvaluators
from leanfront.core.search.interrupting import interruptible
from leanfront.core.search.latency import EACH, measure_frontier
from leanfront.core.search.options import SearchOptions, resolve_device
from leanfront.core.search.pool import PoolEvaluators
from leanfront.core.search.prepared_target import Prepared, prepare
from leanfront.core.search.recovering import Files, Recoverer
from leanfront.core.search.request import queued, reference_of
from leanfront.core.search.seeds import seeds
from leanfront.core.search.space_options import SpaceOptions
from leanfront.core.search.store_protocol import Store
from leanfront.core.search.study import SearchStudy
from leanfront.core.targets import Target
from leanfront.errors import StorageError, TargetError, UsageError

TELL = 1.0
"""Seconds between two reports of a training, which has many steps."""
Report = Callable[[Progress], None]
Stop = Callable[[], bool]
Keep = Callable[[int, bytes], None]
"""Takes the packed file of a candidate by its id."""


def _drop(candidate: int, content: bytes) -> None:
    """For searches that keep no files."""


def start(
    target: Target,
    store: Store,
    name: str,
    options: SearchOptions,
    *,
    artifact: str | None = None,
    prepared: Prepared | None = None,
    report: Report = lambda progress: None,
    stop: Stop = lambda: False,
    keep: Keep = _drop,
    files: Files | None = None,
) -> SearchRecord:
    """Create a search and run it to its end, its time limit, or an interrupt.

    Args:
        target: what to compress.
        store: where to keep the search.
        name: of the search; must be free.
        options: how to search.
        artifact: content hash of the stored dense weights.
        prepared: the target made ready, when it is already.
        report: told after every trial.
        stop: asked often; once true the search is left as it is.
        keep: told the packed file of every candidate that comes onto the frontier.
        files: where files are kept; a search that recovers needs it.

    Returns:
        The search: done, or still running where it was stopped.

    Raises:
        NameTakenError: the name exists; nothing is changed.
        KeyboardInterrupt: after the search was marked as cancelled; it can be resumed.
    """
    begin = time.monotonic()
    record = replace(queued(name, reference_of(target), options), state="running", artifact=artifact)
    prepared, evaluator, record = describe(target, record, options, prepared)
    store.create_search(record)
    return _drive(store, record, prepared, options, evaluator, report, stop, keep, files, begin)


def go_on(
    target: Target,
    store: Store,
    name: str,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    workers: int = 1,
    device: str = "auto",
    cluster: str | None = None,
    artifact: str | None = None,
    prepared: Prepared | None = None,
    report: Report = lambda progress: None,
    stop: Stop = lambda: False,
    keep: Keep = _drop,
    files: Files | None = None,
) -> SearchRecord:
    """Drive a stored search: from its beginning where it was only queued, else as if it had never stopped.

    Args:
        target: the search's; another fingerprint is refused where one is stored.
        trials: new number of trials to reach; the search's own by default.
        minutes: wall-clock limit from now; by default, of a search that begins, its own.
        workers, device, cluster: where to run, as in `SearchOptions`.
        artifact: content hash of the stored dense weights.
        prepared, report, stop, keep, files: as in `start`.

    Raises:
        NotFoundError: no such search.
        TargetError: the target is not the one the search was made on.
    """
    record = store.search(name)
    if record.prepared:
        return resume(
            target,
            store,
            name,
            trials=trials,
            minutes=minutes,
            workers=workers,
            device=device,
            cluster=cluster,
            report=report,
            stop=stop,
            keep=keep,
            files=files,
        )
    begin = time.monotonic()
    options = SearchOptions.from_json(
        record.settings["request"], workers=workers, device=device, cluster=cluster
    )
    options = replace(options, trials=trials or options.trials, minutes=minutes or options.minutes)
    prepared, evaluator, record = describe(target, replace(record, artifact=artifact), options, prepared)
    record = store.prepare_search(record)
    return _drive(store, record, prepared, options, evaluator, report, stop, keep, files, begin)


def resume(
    target: Target,
    store: Store,
    name: str,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    workers: int = 1,
    device: str = "auto",
    cluster: str | None = None,
    report: Report = lambda progress: None,
    stop: Stop = lambda: False,
    keep: Keep = _drop,
    files: Files | None = None,
) -> SearchRecord:
    """Go on with a stored search as if it had never stopped: arguments and errors as of `go_on`."""
    begin = time.monotonic()
    record = store.search(name)
    if target.fingerprint != record.fingerprint:
        raise TargetError(
            f"search '{name}' was made on another model or other data (fingerprint {record.fingerprint[:12]}, "
            f"now {target.fingerprint[:12]}); resume it with the same weights and splits, or start a new search"
        )
    settings = record.settings
    space_options = SpaceOptions.from_json(settings["space"])
    table = settings.get("latency")
    prepared = prepare(
        target, space_options, record.objectives, None if table is None else LatencyTable.from_json(table)
    )
    found = [[p.name, len(p.values)] for p in prepared.space.parameters.values()]
    if found != [list(row) for row in settings["parameters"]]:
        raise TargetError(
            f"search '{name}' was made with another search space (another release of leanfront or of its "
            "libraries sees the model differently); start a new search"
        )
    options = SearchOptions(
        trials=trials or int(settings["trials"]),
        minutes=minutes,
        objectives=tuple(record.objectives),
        space=space_options,
        sampler=settings["sampler"],
        seed=record.seed,
        workers=workers,
        device=device,
        cluster=cluster,
        samples=int(settings["samples"]),
        population=int(settings["population"]),
        # Searches of before there were races go on without.
        false_elimination=float(settings.get("false_elimination", 0.0)),
        recover=settings.get("recover"),
        recover_minutes=settings.get("recover_minutes"),
        metrics=tuple(settings.get("wanted_metrics", ())),
    )
    evaluator = evaluator_of(target, prepared, options)
    store.set_state(name, "running")
    return _drive(store, record, prepared, options, evaluator, report, stop, keep, files, begin)


def _drive(
    store: Store,
    record: SearchRecord,
    prepared: Prepared,
    options: SearchOptions,
    evaluator: Evaluator,
    report: Report,
    stop: Stop,
    keep: Keep,
    files: Files | None,
    begin: float,
) -> SearchRecord:
    objectives = resolve(record.objectives)
    values = {m.name: m.value for m in record.dense if m.split in ("", "validation")}
    predicted = record.settings.get("sensitivities")
    context = SamplerContext(
        prepared.space,
        objectives,
        population=options.generation,
        costs=prepared.costs,
        sensitivities=None if predicted is None else Sensitivities.from_json(predicted),
        reference=record.reference,
        dense={o.name: values[o.measurement] for o in objectives if o.measurement in values},
    )
    study = SearchStudy(
        context,
        sampler_name=options.sampler,
        seed=options.seed,
        seeds=_seeds(context, options.sampler),
    )
    recovered = [each for each in store.frontier(record.name) if each.parent is not None]
    values_of = [objective_values(objectives, each.measurements)[0] for each in recovered]
    front = Front(objectives, record.reference, [each for each in values_of if each is not None])
    trials = store.trials(record.name)
    study.rebuild(trials)
    correct = store.correctness(record.name)
    for trial in trials:
        if trial.values is not None and not trial.duplicate and not trial.stopped:
            front.add(trial.values, trial.candidate, correct.get(trial.candidate or 0))
    with _ending(store, record.name), closing(_evaluators(prepared, options, evaluator)) as evaluators:
        driver = Driver(
            store=store,
            search=record.name,
            space=prepared.space,
            study=study,
            costs=prepared.costs,
            objectives=objectives,
            front=front,
            evaluators=evaluators,
            stored=len(trials),
            stopped=sum(trial.stopped and not trial.duplicate for trial in trials),
            false_elimination=options.false_elimination,
            report=report,
            stop=stop,
            keep=keep,
        )
        deadline = None if options.minutes is None else begin + 60 * options.minutes
        test = prepared.target.test
        share = 0.0 if test is None else len(test) / max(1, len(prepared.target.validation))

        def reserve() -> float:
            # The frontier's members are measured on the test split before the time is over.
            done = driver.progress()
            spent = time.monotonic() - running
            each = spent / max(1, done.trials - len(trials)) if done.trials > len(trials) else 0.0
            timing = 0.0 if prepared.latency is None else done.frontier_size * EACH
            return done.frontier_size * each * share + each + timing

        running = time.monotonic()
        driver.run(options.trials, deadline, reserve)
        if test is not None and not driver.stopped_early:
            driver.finalists("test")
        if driver.stopped_early:
            return store.search(record.name)
        ended, note = measure_frontier(
            store,
            record.name,
            prepared,
            report=lambda: report(driver.progress("latency")),
            stop=stop,
            deadline=deadline,
        )
        said = [_outcome(driver, options.trials), *([] if note is None else [note])]
        if ended and options.recovery is not None:
            ended, note = _recover(store, record.name, evaluator, options, driver, report, stop, files)
            said.append(note)
    if not ended:
        return store.search(record.name)
    store.set_state(record.name, "done", "; ".join(said))
    return store.search(record.name)


def _recover(
    store: Store,
    name: str,
    evaluator: Evaluator,
    options: SearchOptions,
    driver: Driver,
    report: Report,
    stop: Stop,
    files: Files | None,
) -> tuple[bool, str]:
    """Train the frontier's best: in this process, whoever evaluates."""
    assert options.recovery is not None
    if files is None:
        raise UsageError("a search that recovers needs a place to keep files")
    told = -math.inf

    def tell(progress: RecoveryProgress) -> None:
        nonlocal told
        if time.monotonic() >= told + TELL:
            told = time.monotonic()
            report(driver.progress("recovery"))

    recoverer = Recoverer(store, name, evaluator, files)
    with interruptible() as asked:
        return recoverer.promote_frontier(
            options.recovery, options.recover_minutes, report=tell, stop=lambda: stop() or asked()
        )


def _outcome(driver: Driver, wanted: int) -> str:
    """What came of a search, in a sentence."""
    progress = driver.progress()
    message = f"{progress.trials} trials"
    if progress.trials < wanted:
        message = f"{progress.trials} of {wanted} trials: the time limit was reached"
    if progress.stopped:
        message += (
            f"; {progress.stopped} candidates stopped early: they could not beat one that costs no more"
        )
    if driver.unmeasured:
        reason = next(iter(driver.unmeasured.values()))
        message += f"; {len(driver.unmeasured)} could not be measured on the test split: {reason}"
    return message


@contextmanager
def _ending(store: Store, name: str) -> Iterator[None]:
    """Say of a search how it ended, where it did not end well."""
    try:
        yield
    except KeyboardInterrupt:
        store.set_state(name, "cancelled", "interrupted")
        raise
    except StorageError:
        # Whoever holds the search by then, or a later run, goes on with what is stored.
        raise
    except Exception as error:
        store.set_state(name, "failed", f"{type(error).__name__}: {error}"[:2000])
        raise


def _seeds(context: SamplerContext, sampler: str) -> Sequence[Mapping[str, int]]:
    """The first trials that are not the sampler's own choice."""
    # Where costs are known, `auto` chooses its first trials itself, and better, since it learns from each.
    own = sampler == "random" or (sampler == "auto" and context.landscape is not None)
    return () if own else seeds(context)


def _evaluators(prepared: Prepared, options: SearchOptions, evaluator: Evaluator) -> Evaluators:
    if options.workers == 1 and options.cluster is None:
        return LocalEvaluators(evaluator)
    share(evaluator, prepared.space.configuration(prepared.space.cheapest))
    # A cluster's machines have devices of their own.
    device = options.device if options.cluster is not None else resolve_device(options.device)
    own = spec_of(
        prepared.target, prepared.structure, device, options.samples, options.workers, options.measured
    )
    if options.cluster is not None:
        return ClusterEvaluators(own, options.cluster)
    return PoolEvaluators(own, options.workers)
