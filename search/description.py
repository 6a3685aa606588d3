"""Describe a search: what only its target can tell, as it is stored before the first trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from leanfront.core.compressors import Configuration, Sensitivities, sensitivities
from leanfront.core.compressors.configuration import ACTIVATION_BITS
from leanfront.core.cost_models.registry import P50, P95
from leanfront.core.objectives import METRICS, Measurement, reference, resolve
from leanfront.core.search.candidate import SearchRecord
from leanfront.core.search.dense import require_pixels
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.search.latency import cost_measurements
from leanfront.core.search.options import SETTINGS_VERSION, SearchOptions, resolve_device
from leanfront.core.search.prepared_target import Prepared, prepare
from leanfront.core.search.space import SPARSITY_LEVELS
from leanfront.core.targets import Target
from leanfront.errors import EvaluationError, UsageError


def describe(
    target: Target, record: SearchRecord, options: SearchOptions, prepared: Prepared | None
) -> tuple[Prepared, Evaluator, SearchRecord]:
    """Make a target ready, and complete its search's record with what only the target could tell."""
    if options.recover is not None and target.train is None:
        raise UsageError(
            "recovery learns from a train split, and the target has none: give Target(train=...), or data with train/"
        )
    prepared = prepared or prepare(target, options.space, options.objectives, options.latency)
    objectives = resolve(options.objectives)
    evaluator = evaluator_of(target, prepared, options)
    dense = _dense(evaluator, prepared)
    values = {m.name: m.value for m in dense if m.split in ("", "validation")}
    settings = {**record.settings, **_settings(options, prepared, _sensitivities(evaluator, options))}
    described = replace(
        record,
        fingerprint=target.fingerprint,
        reference=reference(objectives, len(target.classes), values),
        settings=settings,
        dense=dense,
        coverage=prepared.coverage.to_json(),
    )
    return prepared, evaluator, described


def evaluator_of(target: Target, prepared: Prepared, options: SearchOptions) -> Evaluator:
    for name in options.measured:
        for view in METRICS[name].views:
            require_pixels(target, f"{name} ({view})")
    return Evaluator(
        target,
        prepared.structure,
        device=resolve_device(options.device),
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
    context, space = evaluator.compressor.context, options.space
    shares: tuple[float | str, ...] = ()
    if space.sparsity == "unstructured":
        shares = tuple(share for share in SPARSITY_LEVELS if share)
    elif space.sparsity == "2:4":
        shares = ("2:4",)
    return sensitivities(
        context.bank,
        context.saliency,
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
        "population": options.generation,
        "samples": options.samples,
        "false_elimination": options.false_elimination,
        "space": options.space.to_json(),
        "sensitivities": None if predicted is None else predicted.to_json(),
        "parameters": [[p.name, len(p.values)] for p in prepared.space.parameters.values()],
        "cheapest": prepared.cheapest,
        "latency": None if prepared.latency is None else prepared.latency.to_json(),
        "recover": options.recover,
        "recover_minutes": options.recover_minutes,
        "classes": list(prepared.target.classes),
        "metrics": list(options.measured),
        "wanted_metrics": list(options.metrics),
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
