"""Start and resume searches: everything between a target and its driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from compressors import Configuration, Coverage, Sensitivities, Structure, coverage, derive, sensitivities
from compressors.configuration import ACTIVATION_BITS
from cost_models import COST_MODELS, Costs, Profile
from cost_models.macs import MacModel
from objectives import METRICS, Measurement, reference, resolve
from search.candidate import SearchRecord
from search.context import SamplerContext
from search.driver import Driver, Front, Progress
from search.evaluation import Evaluator
from search.evaluators import Evaluators, LocalEvaluators, PoolEvaluators, recipe
from search.racing import FALSE_ELIMINATION
from search.samplers import check_sampler
from search.seeds import seeds
from search.space import SPARSITY_LEVELS, Space, SpaceOptions, derive_space
from search.store import Store
from search.study import SearchStudy
from targets import Target
from targets.errors import EvaluationError, TargetError, UsageError

SETTINGS_VERSION = 1


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Args:
        trials: stored trials to reach.
        minutes: wall-clock limit, set-up and test split included; None for none.
        objectives: names, in order.
        space: what may be chosen.
        sampler: by name.
        seed: of everything random.
        workers: processes; 1 evaluates in this one.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        samples: calibration samples for batch norm and activation ranges.
        population: of genetic samplers; chosen from `trials` when None.
        false_elimination: largest share of candidates better than the frontier point they race against that
            may be stopped early; 0 evaluates every candidate on the whole validation split.

    Raises:
        UsageError: a value cannot be used.
    """

    trials: int = 200
    minutes: float | None = None
    objectives: tuple[str, ...] = ("accuracy", "memory", "macs")
    space: SpaceOptions = field(default_factory=SpaceOptions)
    sampler: str = "auto"
    seed: int = 0
    workers: int = 1
    device: str = "auto"
    samples: int = 512
    population: int | None = None
    false_elimination: float = FALSE_ELIMINATION

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"trials must be at least 1, not {self.trials}")
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"minutes must be positive, not {self.minutes}")
        if self.workers < 1:
            raise UsageError(f"workers must be at least 1, not {self.workers}")
        if self.samples < 2:
            raise UsageError(f"calibration samples must be at least 2, not {self.samples}")
        if not 0 <= self.false_elimination < 1:
            raise UsageError(
                f"false elimination must be at least 0 and less than 1, not {self.false_elimination}"
            )
        check_sampler(self.sampler)
        resolve(self.objectives)
        resolve_device(self.device)


@dataclass(frozen=True)
class Prepared:
    """A target made ready: what inspecting and searching it have in common."""

    target: Target
    structure: Structure
    space: Space
    costs: Costs
    coverage: Coverage

    @property
    def dense_costs(self) -> dict[str, float]:
        """Costs of the dense model."""
        return self.costs.of(Configuration())

    @property
    def cheapest(self) -> dict[str, float]:
        """Costs of the cheapest configuration of the space: no budget below it can be met."""
        return self.costs.of(self.space.configuration(self.space.cheapest))


def prepare(target: Target, options: SpaceOptions, objectives: Sequence[str] = ()) -> Prepared:
    """Derive structure, space, costs and coverage of a target.

    Raises:
        LeanfrontError: the model cannot be handled, or an objective cannot be computed for it.
    """
    structure = derive(target.model, target.example_input, seed=options.seed)
    profile = Profile(target.model, target.example_input, structure, target.name or "")
    costs = Costs(profile, [o.measurement for o in resolve(objectives) if o.is_cost] if objectives else ())
    missing = costs.unavailable.get("macs")
    if missing is None:
        model = MacModel(profile)
        report = coverage(structure, model.layers, model.dense, profile.unsupported)
    else:
        exclusions = (*structure.exclusions, ("", "MACs", missing))
        report = coverage(replace(structure, exclusions=exclusions), {}, 0, {})
    return Prepared(target, structure, derive_space(structure, options), costs, report)


def resolve_device(device: str) -> str:
    """The torch device that a device option means.

    Raises:
        UsageError: not a device, or not one of this machine's.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        parsed = torch.device(device)
    except RuntimeError:
        raise UsageError(f"unknown device '{device}'; use auto, cpu, cuda or cuda:N") from None
    if parsed.type == "cuda":
        count = torch.cuda.device_count()
        if (parsed.index or 0) >= count:
            raise UsageError(f"device '{device}' is not here: this machine has {count} CUDA devices")
    return device


def start(
    target: Target,
    store: Store,
    name: str,
    options: SearchOptions,
    *,
    artifact: str | None = None,
    prepared: Prepared | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
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

    Raises:
        NameTakenError: the name exists; nothing is changed.
        KeyboardInterrupt: after the search was marked as cancelled; it can be resumed.
    """
    begin = time.monotonic()
    prepared = prepared or prepare(target, options.space, options.objectives)
    objectives = resolve(options.objectives)
    device = resolve_device(options.device)
    evaluator = Evaluator(target, prepared.structure, device=device, samples=options.samples)
    dense = _dense(evaluator, prepared)
    values = {m.name: m.value for m in dense if m.split in ("", "validation")}
    record = SearchRecord(
        name=name,
        target=target.reference or f"python:{target.name or type(target.model).__name__}",
        fingerprint=target.fingerprint,
        objectives=tuple(objective.name for objective in objectives),
        reference=reference(objectives, len(target.classes), values),
        settings=_settings(options, prepared, _sensitivities(evaluator, options)),
        seed=options.seed,
        dense=dense,
        coverage=prepared.coverage.to_json(),
        artifact=artifact,
    )
    store.create_search(record)
    return _drive(store, record, prepared, options, evaluator, report, begin)


def resume(
    target: Target,
    store: Store,
    name: str,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    workers: int = 1,
    device: str = "auto",
    report: Callable[[Progress], None] = lambda progress: None,
) -> SearchRecord:
    """Go on with a stored search as if it had never stopped.

    Args:
        target: the same target; another fingerprint is refused.
        trials: new number of trials to reach; the search's own by default.

    Raises:
        NotFoundError: no such search.
        TargetError: the target is not the one the search was made on.
    """
    begin = time.monotonic()
    record = store.search(name)
    if target.fingerprint != record.fingerprint:
        raise TargetError(
            f"search '{name}' was made on another model or other data (fingerprint {record.fingerprint[:12]}, "
            f"now {target.fingerprint[:12]}); resume it with the same weights and splits, or start a new search"
        )
    settings = record.settings
    space_options = SpaceOptions.from_json(settings["space"])
    prepared = prepare(target, space_options, record.objectives)
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
        samples=int(settings["samples"]),
        population=int(settings["population"]),
        # Searches of before there were races go on without.
        false_elimination=float(settings.get("false_elimination", 0.0)),
    )
    evaluator = Evaluator(target, prepared.structure, device=resolve_device(device), samples=options.samples)
    store.set_state(name, "running")
    return _drive(store, record, prepared, options, evaluator, report, begin)


def _drive(
    store: Store,
    record: SearchRecord,
    prepared: Prepared,
    options: SearchOptions,
    evaluator: Evaluator,
    report: Callable[[Progress], None],
    begin: float,
) -> SearchRecord:
    objectives = resolve(record.objectives)
    values = {m.name: m.value for m in record.dense if m.split in ("", "validation")}
    predicted = record.settings.get("sensitivities")
    context = SamplerContext(
        prepared.space,
        objectives,
        population=_population(options),
        costs=prepared.costs,
        sensitivities=None if predicted is None else Sensitivities.from_json(predicted),
        reference=record.reference,
        dense={o.name: values[o.measurement] for o in objectives if o.measurement in values},
    )
    study = SearchStudy(
        context,
        sampler_name=options.sampler,
        seed=options.seed,
        # Where costs are known, `auto` chooses its first trials itself, and better, since it learns from each.
        seeds=seeds(context) if options.sampler == "auto" and context.landscape is None else (),
    )
    front = Front(objectives, record.reference)
    trials = store.trials(record.name)
    study.rebuild(trials)
    correct = store.correctness(record.name)
    for trial in trials:
        if trial.values is not None and not trial.duplicate and not trial.stopped:
            front.add(trial.values, trial.candidate, correct.get(trial.candidate or 0))
    evaluators = _evaluators(prepared, options, evaluator)
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
    )
    deadline = None if options.minutes is None else begin + 60 * options.minutes
    test = prepared.target.test
    share = 0.0 if test is None else len(test) / max(1, len(prepared.target.validation))

    def reserve() -> float:
        # The frontier's members are measured on the test split before the time is over.
        done = driver.progress()
        spent = time.monotonic() - running
        each = spent / max(1, done.trials - len(trials)) if done.trials > len(trials) else 0.0
        return done.frontier_size * each * share + each

    running = time.monotonic()
    try:
        driver.run(options.trials, deadline, reserve)
        if test is not None:
            driver.finalists("test")
    except KeyboardInterrupt:
        store.set_state(record.name, "cancelled", "interrupted")
        raise
    except Exception as error:
        store.set_state(record.name, "failed", f"{type(error).__name__}: {error}"[:2000])
        raise
    finally:
        evaluators.close()
    progress = driver.progress()
    done = progress.trials
    reached = done >= options.trials
    message = (
        f"{done} trials" if reached else f"{done} of {options.trials} trials: the time limit was reached"
    )
    if progress.stopped:
        message += (
            f"; {progress.stopped} candidates stopped early: they could not beat one that costs no more"
        )
    store.set_state(record.name, "done", message)
    return store.search(record.name)


def _evaluators(prepared: Prepared, options: SearchOptions, evaluator: Evaluator) -> Evaluators:
    if options.workers == 1:
        return LocalEvaluators(evaluator)
    device = resolve_device(options.device)
    return PoolEvaluators(
        recipe(prepared.target, prepared.structure, device, options.samples, options.workers), options.workers
    )


def _dense(evaluator: Evaluator, prepared: Prepared) -> tuple[Measurement, ...]:
    """Measurements of the dense model, on validation and test; it must work, or nothing else will."""
    measurements = [
        Measurement(name, value, unit=COST_MODELS[name].unit) for name, value in prepared.dense_costs.items()
    ]
    for split in ("validation", "test"):
        if split == "test" and prepared.target.test is None:
            continue
        evaluation = evaluator.evaluate(Configuration(), split)
        if evaluation.reason is not None:
            raise EvaluationError(f"the dense model cannot be evaluated on '{split}': {evaluation.reason}")
        measurements += evaluation.measurements
    return tuple(measurements)


def _sensitivities(evaluator: Evaluator, options: SearchOptions) -> Sensitivities | None:
    """Predicted losses of the space's choices, where the sampler reads them."""
    if options.sampler != "auto":
        return None
    materials, space = evaluator.compressor.materials, options.space
    shares: tuple[float | str, ...] = ()
    if space.sparsity == "unstructured":
        shares = tuple(share for share in SPARSITY_LEVELS if share)
    elif space.sparsity == "2:4":
        shares = ("2:4",)
    return sensitivities(
        materials.bank,
        materials.saliency,
        bits=space.bits,
        sparsity=shares,
        activation_bits=ACTIVATION_BITS if space.activation_bits == "search" else (),
    )


def _settings(
    options: SearchOptions, prepared: Prepared, predicted: Sensitivities | None
) -> Mapping[str, Any]:
    return {
        "version": SETTINGS_VERSION,
        "trials": options.trials,
        "sampler": options.sampler,
        "population": _population(options),
        "samples": options.samples,
        "false_elimination": options.false_elimination,
        "space": options.space.to_json(),
        "sensitivities": None if predicted is None else predicted.to_json(),
        "parameters": [[p.name, len(p.values)] for p in prepared.space.parameters.values()],
        "cheapest": prepared.cheapest,
        "classes": list(prepared.target.classes),
        "metrics": list(METRICS),
        "splits": {
            split.name: len(split)
            for split in (
                prepared.target.calibration,
                prepared.target.validation,
                prepared.target.test,
                prepared.target.train,
            )
            if split is not None
        },
        "cuts": list(prepared.target.cuts),
    }


def _population(options: SearchOptions) -> int:
    """A population that leaves a search of `trials` trials several generations."""
    if options.population is not None:
        return options.population
    return max(10, min(50, options.trials // 6))
