"""Everything a search needs before its first trial: the prepared target, the evaluator, the complete record."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from leanfront.core.compressors import Configuration, Sensitivities, sensitivities
from leanfront.core.compressors.configuration import ACTIVATION_BITS
from leanfront.core.cost_models import LatencyTable
from leanfront.core.cost_models.registry import P50, P95
from leanfront.core.objectives import METRICS, Measurement, reference, resolve
from leanfront.core.search.candidate import SearchRecord
from leanfront.core.search.chance import chance_remark
from leanfront.core.search.dense import require_pixels
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.search.latency import cost_measurements
from leanfront.core.search.options import Place, SearchOptions, resolve_device
from leanfront.core.search.prepared_target import Prepared, prepare
from leanfront.core.search.run import Run
from leanfront.core.search.space import SPARSITY_LEVELS
from leanfront.core.search.worth import require_worthwhile
from leanfront.core.targets import Target
from leanfront.core.targets.differences import require_same
from leanfront.errors import EvaluationError, TargetError, UsageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """A search that can be driven.

    Args:
        record: the search, with what its target told.
        options: options of the search.
        prepared: the prepared target.
        evaluator: evaluates configurations in this process.
    """

    record: SearchRecord
    options: SearchOptions
    prepared: Prepared
    evaluator: Evaluator


def describe(target: Target, record: SearchRecord, options: SearchOptions, run: Run) -> Ready:
    """Prepare a target, and complete the record of its search.

    Raises:
        LeanfrontError: the target cannot be searched so.
    """
    if options.recover is not None and target.train is None:
        raise UsageError(
            "recovery learns from a train split, and the target has none: give Target(train=...), or data with train/"
        )
    # A search that is resumed for more trials keeps its population.
    options = replace(options, population=options.generation)
    prepared = run.prepared or prepare(target, options, options.objectives, options.latency)
    if not options.anyway:
        require_worthwhile(prepared)
    objectives = resolve(options.objectives)
    evaluator = _evaluator(target, prepared, options, run.place)
    dense = _dense(evaluator, prepared)
    values = {m.name: m.value for m in dense if m.split in ("", "validation")}
    remark = chance_remark(target.validation, values["accuracy"]) if "accuracy" in values else None
    if remark is not None:
        log.warning("%s", remark)
    predicted = _sensitivities(evaluator, options)
    described = replace(
        record,
        fingerprint=target.fingerprint,
        reference=reference(objectives, len(target.classes), values),
        settings={
            **record.settings,
            "options": options.to_json(),
            "sensitivities": None if predicted is None else predicted.to_json(),
            "parameters": _parameters(prepared),
            "cheapest": prepared.cheapest,
            "latency": None if prepared.latency is None else prepared.latency.to_json(),
            "classes": list(target.classes),
            "metrics": list(options.measured),
            "splits": {name: len(split) for name, split in target.splits.items()},
            "cuts": list(target.cuts),
            "digests": target.digests,
            "remarks": [] if remark is None else [remark],
        },
        dense=dense,
        coverage=prepared.coverage.to_json(),
    )
    return Ready(described, options, prepared, evaluator)


def restore(target: Target, record: SearchRecord, run: Run) -> Ready:
    """Prepare the target of a search that was described before.

    Raises:
        TargetError: the target is not the one the search was made on, or its search space differs.
    """
    require_same(
        target,
        record.fingerprint,
        record.digests,
        lambda what: (
            f"search '{record.name}' was made on another model or other data{what and f': {what}'} (fingerprint "
            f"{record.fingerprint[:12]}, now {target.fingerprint[:12]}); resume it with the same weights and splits, "
            "or start a new search"
        ),
    )
    options = record.options
    table = record.settings.get("latency")
    prepared = prepare(
        target, options, options.objectives, None if table is None else LatencyTable.from_json(table)
    )
    if _parameters(prepared) != [list(row) for row in record.settings["parameters"]]:
        raise TargetError(
            f"search '{record.name}' was made with another search space (another release of leanfront or of its "
            "libraries sees the model differently); start a new search"
        )
    return Ready(record, options, prepared, _evaluator(target, prepared, options, run.place))


def _parameters(prepared: Prepared) -> list[list[Any]]:
    """Names and numbers of values of the space's parameters."""
    return [[p.name, len(p.values)] for p in prepared.space.parameters.values()]


def _evaluator(target: Target, prepared: Prepared, options: SearchOptions, place: Place) -> Evaluator:
    for name in options.measured:
        for view in METRICS[name].views:
            require_pixels(target, f"{name} ({view})")
    return Evaluator(
        target,
        prepared.structure,
        device=resolve_device(place.device),
        samples=options.samples,
        metrics=options.measured,
    )


def _dense(evaluator: Evaluator, prepared: Prepared) -> tuple[Measurement, ...]:
    """Measurements of the dense model, on validation and test; it must work, or nothing else will."""
    measurements = [*cost_measurements(prepared.costs, Configuration())]
    table = prepared.latency
    if table is not None:
        both = ((P50, table.dense_p50), (P95, table.dense_p95))
        measurements += [Measurement(name, value, count=table.runs, unit="ms") for name, value in both]
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
    if options.sampler == "random":
        return None
    context = evaluator.compressor.context
    shares: tuple[float | str, ...] = ()
    if options.sparsity == "unstructured":
        shares = tuple(share for share in SPARSITY_LEVELS if share)
    elif options.sparsity == "2:4":
        shares = ("2:4",)
    return sensitivities(
        context.bank,
        context.saliency,
        bits=options.bits,
        sparsity=shares,
        activation_bits=ACTIVATION_BITS if options.activation_bits == "search" else (),
    )
