"""The audit ``bounds``: theoretical bounds on bits and errors, beside the actual ones."""

from __future__ import annotations

from typing import Any

import torch

from leanfront.core.audit.artifacts import Stored, stored
from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.description_length import (
    Described,
    TrainingSamples,
    describe,
    shortest,
    training_samples,
    turns,
)
from leanfront.core.audit.kind import Findings, entry
from leanfront.core.audit.kinds.bounds.mismatch import NoiseGains, mismatch_bound, noise_gains, steps_of
from leanfront.core.audit.kinds.bounds.rate_distortion import (
    RatePoint,
    Sources,
    pruning_distortion,
    rate_point,
    sources,
)
from leanfront.core.audit.kinds.bounds.sqnr import LayerNoise, layer_noise, overall
from leanfront.core.audit.versions import Configured, Dense
from leanfront.core.compressors import Configuration
from leanfront.core.compressors.statistics.outputs import batch_size
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.objectives.documents import plain
from leanfront.core.targets.sampling import balanced
from leanfront.errors import EvaluationError, LeanfrontError, StoppedError

WIDTHS = (2, 3, 4, 5, 6, 7, 8)
METHODS = ("rounding", "bank")
MISMATCH_WIDTHS = (4, 5, 6, 7, 8)
"""Widths of both weights and activations."""
MISMATCH_SAMPLES = 200
FEWEST_SAMPLES = 16
"""Least number of samples, if inputs are so large that a batch has fewer."""
SCALE_BITS = 16


def audit_bounds(auditor: Auditor) -> Findings:
    """Compute entropy, rate and distortion, description length and mismatch for uniform widths and each version."""
    samples = training_samples(auditor)
    dense = stored(auditor, Dense())
    fitted = _sources(auditor, dense)
    gains = _gains(auditor)
    said, top1 = describe(auditor, dense, samples)
    document: dict[str, Any] = {
        "split": auditor.split,
        "samples": len(auditor.data),
        "seed": auditor.options.seed,
        "training": samples.to_json(),
        "dense": {**_costs(dense), "description": said.to_json(), "training_top1": top1},
        "sources": {name: None if each is None else each.to_json() for name, each in fitted.items()},
        "uniform": _uniform(auditor, samples, fitted),
        "uniform_mismatch": _mismatches(auditor, gains),
    }
    found = {}
    for number, version in enumerate(auditor.versions):
        _going(auditor, "bounds of versions", number, len(auditor.versions))
        own = stored(auditor, version)
        said, top1 = describe(auditor, own, samples)
        found[version.name] = entry(
            version,
            {
                **_costs(own),
                "description": said.to_json(),
                "training_top1": top1,
                **_layers(auditor, own, fitted),
                "mismatch": _mismatch(auditor, own, gains),
            },
        )
    return Findings(document, found)


def _going(auditor: Auditor, what: str, done: int, of: int) -> None:
    auditor.report(what, done, of)
    if auditor.stop():
        raise StoppedError


def _costs(own: Stored) -> dict[str, Any]:
    return {
        "memory_bytes": own.artifact.memory_bytes,
        "bound_bytes": own.entropy.bound_bytes,
        "coded_bytes": own.entropy.coded_bytes,
        "lzma_bytes": own.entropy.lzma_bytes,
        "entropy": own.entropy.to_json(),
    }


def _sources(auditor: Auditor, dense: Stored) -> dict[str, Sources | None]:
    modules = dict(dense.compressed.module.named_modules())
    return {
        layer: sources(weight_of(modules[layer]).detach().cpu().numpy()) for layer in auditor.structure.layers
    }


def _uniform(
    auditor: Auditor, samples: TrainingSamples, fitted: dict[str, Sources | None]
) -> dict[str, dict[str, Any]]:
    """Return the findings on every width by every method, and the width with the shortest description."""
    found: dict[str, dict[str, Any]] = {}
    for place, method in enumerate(METHODS):
        widths: list[dict[str, Any]] = []
        descriptions: dict[int, Described] = {}
        for number, bits in enumerate(WIDTHS):
            _going(auditor, f"uniform widths by {method}", place * len(WIDTHS) + number, 2 * len(WIDTHS))
            try:
                own = stored(auditor, _rounded(auditor, bits, method))
                said, top1 = describe(auditor, own, samples)
            except LeanfrontError as error:
                widths.append({"bits": bits, "reason": str(error)})
                continue
            descriptions[bits] = said
            costs = {key: value for key, value in _costs(own).items() if key != "entropy"}
            layers = _layers(auditor, own, fitted)
            if method != METHODS[0]:
                layers.pop("layers")  # the bank approximates outputs, not weights
            widths.append(
                {
                    "bits": bits,
                    **costs,
                    "description": said.to_json(),
                    "training_top1": top1,
                    **layers,
                }
            )
        found[method] = {
            "widths": widths,
            "shortest": shortest(descriptions),
            "turns": plain(turns(descriptions, samples.total)),
        }
    return found


def _rounded(auditor: Auditor, bits: int, method: str, *, activations: bool = False) -> Configured:
    every = dict.fromkeys(auditor.structure.layers, bits)
    configuration = Configuration(
        weight_bits=every,
        activation_bits=every if activations else {},
        method=method,
        activation_range="minmax",
    )
    # Modules are held by name, so no other kind of audit may use this name.
    name = f"{method}, {bits} bits{' throughout' if activations else ''}"
    return Configured(name, auditor.structure.canonical(configuration))


def _layers(auditor: Auditor, own: Stored, fitted: dict[str, Sources | None]) -> dict[str, Any]:
    """Compute noise, rate and distortion of each layer and of all together."""
    structure = auditor.structure
    noises = layer_noise(own.compressed, structure, auditor.target.model)
    weights = {name: structure.parts[name].weights for name in noises}
    points = _points(own, noises, fitted)
    return {
        "sqnr": plain(overall(noises, weights)),
        "cut_layers": len(structure.layers) - len(noises),
        "below": sum(point.below for point in points.values()),
        "points": len(points),
        "layers": {
            name: {
                **plain(noise),
                "rate": points[name].to_json() if name in points else None,
                "pruning": _pruning(noise, name in own.compressed.configuration.sparsity),
            }
            for name, noise in noises.items()
        },
    }


def _points(
    own: Stored, noises: dict[str, LayerNoise], fitted: dict[str, Sources | None]
) -> dict[str, RatePoint]:
    """Compare coded layers with the bounds of their sources."""
    found = {}
    shapes = own.structure.shapes(own.compressed.configuration)
    for coded in own.entropy.layers:
        noise, source = noises.get(coded.layer), fitted[coded.layer]
        if noise is None or source is None:
            continue
        scales = SCALE_BITS * shapes[coded.layer].outputs if coded.entropy is not None else 0
        # The size that a decoder can read: the entropy of few weights lacks the table and lies below any bound.
        bits = (8 * coded.best_bytes + scales) / coded.weights
        point = rate_point(coded.layer, bits, noise.mean_square, noise.mean_absolute, source)
        if point is not None:
            found[coded.layer] = point
    return found


def _pruning(noise: LayerNoise, sparse: bool) -> dict[str, float] | None:
    """Return the distortion over the weights' power, measured and of a Laplacian source with its smallest zeroed."""
    if not sparse or noise.signal == 0 or noise.zeros >= 1:
        return None
    return {
        "share": noise.zeros,
        "distortion": noise.mean_square / noise.signal,
        "laplacian": pruning_distortion(noise.zeros),
    }


def _positions(auditor: Auditor) -> torch.Tensor:
    most = max(FEWEST_SAMPLES, batch_size(auditor.target.example_input))
    count = min(MISMATCH_SAMPLES, auditor.options.samples, most, len(auditor.data))
    return balanced(auditor.data.labels, count, seed=auditor.options.seed, share=1.0)


def _gains(auditor: Auditor) -> NoiseGains | str:
    """Return the noise gains of the dense model, or why there are none."""
    _going(auditor, "gradients for the mismatch bound", 0, 1)
    inputs = auditor.data.subset(_positions(auditor)).tensors()[0].to(auditor.device)
    try:
        return noise_gains(auditor.module(Dense()), auditor.structure, inputs)
    except EvaluationError as error:
        return str(error)


def _mismatches(auditor: Auditor, gains: NoiseGains | str) -> dict[str, Any]:
    """Return the mismatch of uniform widths of weights and activations under plain rounding."""
    widths: list[dict[str, Any]] = []
    for number, bits in enumerate(MISMATCH_WIDTHS):
        _going(auditor, "mismatch", number, len(MISMATCH_WIDTHS))
        try:
            own = stored(auditor, _rounded(auditor, bits, "rounding", activations=True))
            widths.append({"bits": bits, **_mismatch(auditor, own, gains)})
        except LeanfrontError as error:
            widths.append({"bits": bits, "reason": str(error)})
    return {
        "samples": len(_positions(auditor)),
        "classes": None if isinstance(gains, str) else gains.classes,
        "widths": widths,
    }


def _mismatch(auditor: Auditor, own: Stored, gains: NoiseGains | str) -> dict[str, Any]:
    """Return how often the answer changes: measured, measured on the bound's samples, and the bound."""
    changed = auditor.logits(own)[0].argmax(1) != auditor.logits(Dense())[0].argmax(1)
    steps = steps_of(own.compressed, auditor.structure)
    reason = next((each for each in (gains, steps) if isinstance(each, str)), None)
    found: dict[str, Any] = {
        "measured": float(changed.double().mean()),
        "measured_there": float(changed[_positions(auditor)].double().mean()),
        "bound": None,
        "why_none": reason,
    }
    if not isinstance(gains, str) and not isinstance(steps, str):
        found["bound"] = plain(mismatch_bound(gains, steps))
    return found
