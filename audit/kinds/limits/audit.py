"""The audit ``limits``: how far the model can be compressed, along several axes, on clean and shifted data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.corruption_errors import excess_error
from leanfront.core.audit.kind import Findings
from leanfront.core.audit.kinds.limits.curves import Curve, Floats
from leanfront.core.audit.kinds.limits.indicators import DRAWS, Trace, indicators, resamples
from leanfront.core.audit.kinds.limits.layer_limits import layer_limit, layer_sweeps
from leanfront.core.audit.kinds.limits.sweeps import FRONTIER, Sweep, sweeps
from leanfront.core.audit.kinds.limits.thresholds import DELTA, Limits, limits, potentials
from leanfront.core.audit.suites import c_like
from leanfront.core.audit.versions import Dense, Version
from leanfront.core.compressors import Configuration
from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.corruptions import MAIN
from leanfront.core.objectives.documents import plain
from leanfront.core.objectives.robust import first_answers
from leanfront.core.targets import Split
from leanfront.core.targets.pictures import Pictures
from leanfront.core.targets.sampling import balanced
from leanfront.errors import CompressionError, ConfigurationError, EvaluationError

SHIFTS = ("gaussian_noise", "defocus_blur", "fog", "contrast", "jpeg_compression")
"""Default corruptions of this audit: one each of noise, blur and weather, and two digital ones."""
SEVERITY = 3
NOISE = "gaussian_noise"
"""Corruption on whose pictures flips are counted."""
CLEAN = 2000
"""Least number of samples without corruption, if the split has as many."""


@dataclass(frozen=True)
class _Samples:
    """The samples that every version answers.

    Args:
        clean: held-out samples.
        seen: samples that the model learned from, or was calibrated on.
        seen_name: name of their split.
        chosen: positions in `clean` of the samples to corrupt.
        shifted: corruption -> corrupted pictures of these samples; empty if the target has no pixels.
        key: cache key of the pictures, shared with the audit of robustness.
        reason: why there are no pictures, or None.
    """

    clean: Split
    seen: Split
    seen_name: str
    chosen: Tensor
    shifted: Mapping[str, Split | Pictures]
    key: tuple[str | int, ...]
    reason: str | None


@dataclass(frozen=True)
class _Answered:
    """Results of one version on each of the samples."""

    clean: Trace
    seen: Trace
    chosen: Floats
    shifted: Mapping[str, Floats]
    flips: Floats | None


def audit_limits(auditor: Auditor) -> Findings:
    """Find where accuracy breaks along sparsity, channels, bits and the frontier, and the limit of each layer alone.

    Raises:
        StoppedError: the auditor was asked to stop.
    """
    samples = _samples(auditor)
    dense = _answered(auditor, Dense(), samples)
    axes: dict[str, Any] = {}
    found = sweeps(auditor)
    for number, sweep in enumerate(found):
        auditor.report(f"limits along {sweep.axis}", number, len(found))
        axes[sweep.axis] = _axis(auditor, sweep, samples, dense)
    document = {
        "split": auditor.split,
        "samples": len(samples.clean),
        "shifted_samples": len(samples.chosen),
        "seen": {"split": samples.seen_name, "samples": len(samples.seen)},
        "severity": SEVERITY,
        "corruptions": [name for name in samples.shifted if name in _shifts(auditor)],
        "no_shift": samples.reason,
        "delta": DELTA,
        "criterion": auditor.options.criterion,
        "method": auditor.options.method,
        "deviations": f"bootstrap over samples, {DRAWS} resamples",
        "axes": axes,
        "layers": _layers(auditor, samples, dense),
    }
    return Findings(plain(document))


def _samples(auditor: Auditor) -> _Samples:
    options, data, target = auditor.options, auditor.data, auditor.target
    positions = _positions(data, max(CLEAN, options.samples), options.seed)
    # The same seed gives the same order, so these samples are among the ones above.
    corrupted = _positions(data, options.samples, options.seed)
    clean, chosen = data.subset(positions), torch.searchsorted(positions, corrupted)
    learned = target.calibration if target.train is None else target.train
    seen = learned.subset(_positions(learned, options.samples, options.seed))
    # Read once here, since a training split is read again at every use.
    seen = Split.of(seen.name, seen.tensors())
    if target.pixels is None:
        reason = "the target does not say how its inputs are made of pixels"
        return _Samples(clean, seen, learned.name, chosen, {}, (), reason)
    names = tuple(dict.fromkeys((*_shifts(auditor), NOISE)))
    wanted = replace(options, corruptions=names, severities=(SEVERITY,))
    suite = c_like(data.subset(corrupted), target.pixels, corrupted, wanted)
    shifted = {name: suite.make(name, SEVERITY) for name in names}
    return _Samples(clean, seen, learned.name, chosen, shifted, suite.key, None)


def _positions(data: Split, count: int, seed: int) -> Tensor:
    return balanced(data.labels, min(len(data), count), seed=seed, share=1.0)


def _shifts(auditor: Auditor) -> tuple[str, ...]:
    named = auditor.options.corruptions
    return SHIFTS if named == tuple(MAIN) else named


def _answered(auditor: Auditor, version: Version, samples: _Samples) -> _Answered:
    """Evaluate a version on the samples.

    Raises:
        EvaluationError: its outputs are not finite.
    """

    def ask(of: Version, data: Split | Pictures, *key: str | int) -> Tensor:
        logits = auditor.on(of, lambda: data, *key)
        if not bool(torch.isfinite(logits).all()):
            raise EvaluationError(f"{of.name} gives NaN or infinite outputs")
        return logits

    def trace(data: Split) -> tuple[Trace, Tensor]:
        logits = ask(version, data, "split", data.digest)
        return Trace.of(logits, data.labels, ask(Dense(), data, "split", data.digest)), logits

    clean, logits = trace(samples.clean)
    seen, _ = trace(samples.seen)
    shifted, flips = {}, None
    for name, pictures in samples.shifted.items():
        own = ask(version, pictures, *samples.key, name, SEVERITY)
        shifted[name] = correct(own, samples.clean.labels[samples.chosen]).double().numpy()
        if name == NOISE:
            changed = first_answers(own) != first_answers(logits[samples.chosen])
            flips = changed.double().numpy()
    return _Answered(clean, seen, clean.right[samples.chosen.numpy()], shifted, flips)


def _axis(auditor: Auditor, sweep: Sweep, samples: _Samples, dense: _Answered) -> dict[str, Any]:
    """Return the findings along one axis."""
    kept, answered, failed = [], [], []
    for number, point in enumerate(sweep.points):
        auditor.report(f"limits along {sweep.axis}", number, len(sweep.points))
        try:
            answered.append(_answered(auditor, point.version, samples))
            kept.append(point)
        except (CompressionError, ConfigurationError, EvaluationError) as error:
            failed.append({"version": point.version.name, "ratio": point.ratio, "reason": str(error)})
    if sweep.axis == FRONTIER:
        chosen = _upper([each.clean.right.mean() for each in answered])
        kept, answered = [kept[place] for place in chosen], [answered[place] for place in chosen]
    about = {"unit": sweep.unit, "failed": failed, "ratios": [point.ratio for point in kept]}
    if len(kept) < 2:
        return {**about, "reason": "only the dense model is left along this axis"}
    ratios, seed = [point.ratio for point in kept], auditor.options.seed
    clean = _limits(ratios, [each.clean.right for each in answered], seed)
    cliff = clean["cliff"]
    flips = [each.flips for each in answered if each.flips is not None]
    judged = indicators(
        [each.clean for each in answered],
        [each.seen for each in answered],
        flips or None,
        ratios,
        cliff,
        seed,
    )
    return {
        **about,
        "versions": [point.version.name for point in kept],
        "values": [point.value for point in kept],
        "limits": clean,
        "shift": _shift(
            answered, ratios, [name for name in _shifts(auditor) if name in samples.shifted], seed
        ),
        "indicators": {name: plain(each) for name, each in judged.items()},
    }


def _upper(accuracies: Sequence[float]) -> list[int]:
    """Return the positions of points more accurate than all later ones; the first, the dense model, is kept."""
    best, chosen = -1.0, []
    for place in reversed(range(len(accuracies))):
        if accuracies[place] > best or place == 0:
            chosen.append(place)
            best = max(best, accuracies[place])
    return chosen[::-1]


def _limits(ratios: Sequence[float], right: Sequence[Floats], seed: int) -> dict[str, Any]:
    """Compute the thresholds on one distribution of samples, with intervals by bootstrap over samples."""
    table = np.stack(list(right))
    draws = resamples(table.shape[1], seed=seed) @ table.T
    curve = Curve(
        tuple(ratios), tuple(table.mean(axis=1).tolist()), tuple(draws.std(axis=0, ddof=1).tolist())
    )
    found: Limits = limits(curve, seed=seed)
    low, high = np.quantile(potentials(ratios, draws), [0.025, 0.975]).tolist()
    document: dict[str, Any] = plain(found)
    document["potential"] |= {"low": low, "high": high}
    return {
        "accuracies": list(curve.accuracies),
        "deviations": list(curve.deviations or ()),
        "samples": table.shape[1],
        "cliff": found.cliff,
        **document,
    }


def _shift(
    answered: Sequence[_Answered], ratios: Sequence[float], names: Sequence[str], seed: int
) -> dict[str, Any] | None:
    """Compute the thresholds under each corruption, and on the same images without corruption."""
    if not names:
        return None
    clean = _limits(ratios, [each.chosen for each in answered], seed)
    first = answered[0]
    rows, excess = {}, {}
    for name in names:
        rows[name] = _limits(ratios, [each.shifted[name] for each in answered], seed)
        excess[name] = [
            excess_error(
                1 - float(each.shifted[name].mean()),
                1 - float(first.shifted[name].mean()),
                1 - float(each.chosen.mean()),
                1 - float(first.chosen.mean()),
            )
            for each in answered
        ]
    values = {name: row["potential"]["value"] for name, row in rows.items()}
    worst = min(values, key=lambda name: values[name])
    return {
        "clean": clean,
        "corruptions": rows,
        "excess_error": excess,
        "mean_excess_error": np.mean(list(excess.values()), axis=0),
        "potential": {
            "clean": clean["potential"]["value"],
            "mean": float(np.mean(list(values.values()))),
            "lowest": values[worst],
            "lowest_under": worst,
            "lower": sum(value < clean["potential"]["value"] for value in values.values()),
        },
    }


def _layers(auditor: Auditor, samples: _Samples, dense: _Answered) -> dict[str, Any]:
    """Find how far each layer and channel group can be compressed alone, on the clean versions of the samples."""
    options = auditor.options
    # Everything before the layer is dense, so its inputs are those that the bank was measured on.
    method = "bank" if options.method == "sequential" else options.method
    make: Callable[..., Configuration] = partial(Configuration, criterion=options.criterion, method=method)
    found, left = layer_sweeps(auditor.structure, make)
    data = samples.clean.subset(samples.chosen)
    accuracy, rows, failed = float(dense.chosen.mean()), [], []
    for number, sweep in enumerate(found):
        auditor.report("limits of layers", number, len(found))
        try:
            accuracies = [
                float(
                    correct(auditor.on(each, lambda: data, "split", data.digest), data.labels).double().mean()
                )
                for each in sweep.versions
            ]
            rows.append(layer_limit(sweep, accuracies, accuracy))
        except (CompressionError, ConfigurationError) as error:
            failed.append({"subject": sweep.subject, "axis": sweep.axis, "reason": str(error)})
    return {
        "samples": len(data),
        "method": method,
        "limits": [plain(row) for row in rows],
        "left_out": left,
        "failed": failed,
    }
