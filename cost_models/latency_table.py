"""Latency as a function of the configuration: a linear model fitted to timed configurations.

The latency of a run is a constant plus, for every layer, a factor times each of a few counts: multiply-adds,
multiply-adds at widths that suit kernels badly, outputs, weights and quantised inputs. Layers of one kind share
their factors, which are nonnegative and minimise the squared relative error. Every timed configuration is also
predicted by a fit without it; the reported errors are the errors of these predictions.

The alternative is to time layers one by one on a grid of channel counts, and to fit an offset and a scale to whole
models. It is no more accurate, takes more measurements, and misses the time between layers: see
docs/benchmarks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from leanfront.core.compressors import Configuration
from leanfront.core.cost_models.batch import Batch, Encoder, Floats, Frame
from leanfront.core.cost_models.latency_options import LatencyOptions
from leanfront.core.cost_models.macs import MacModel
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.timing import Timing
from leanfront.errors import StorageError

VERSION = 1
WIDE, NARROW = 16, 4
"""Channels that kernels process at once; a remainder costs as much as a full step, or runs another kernel."""
CONSTANT = "constant"
MODES = ("float", "integer", "narrow")
"""How a layer can run: in floating point; on quantised inputs and weights of 5 to 8 bits; likewise on fewer."""
COVERED = 0.95
"""Share of the held-out configurations within the interval of a prediction."""


class LatencyFeatures:
    """The counts whose linear combination predicts latency.

    Args:
        profile: profile of the dense model.
        integers: whether the backend computes differently at different bit-widths.

    Raises:
        EvaluationError: the model's multiply-adds do not follow its channels.
    """

    def __init__(self, profile: Profile, *, integers: bool) -> None:
        structure = profile.structure
        self._integers = integers
        self.frame = Frame(structure)
        self._macs = MacModel(profile)
        parts = [structure.parts[name] for name in structure.layers]
        kinds = [_kind(part.kind, part.kernel) for part in parts]
        self._members = {kind: np.asarray([k == kind for k in kinds]) for kind in sorted(set(kinds))}
        self._positions = np.asarray([self._macs.layers.get(p.name, 0) / max(1, p.weights) for p in parts])
        self._read = np.asarray(
            [profile.leaf_inputs.get(part.name, 0) / max(1, part.inputs) for part in parts], dtype=np.float64
        )

    def matrix(self, batch: Batch) -> tuple[tuple[str, ...], Floats]:
        """Return the names of the features and their values (n, features)."""
        names, columns = [CONSTANT], [np.ones(len(batch))]
        for measure, values in self._measures(batch).items():
            for kind, members in self._members.items():
                names.append(f"{kind} {measure}")
                columns.append((values * members).sum(axis=1))
        return tuple(names), np.column_stack(columns)

    def total(self, batch: Batch, factors: Mapping[str, float]) -> Floats:
        """Return the sums (n,) of features times factors; a feature without a factor counts 0."""
        total = np.full(len(batch), factors.get(CONSTANT, 0.0))
        for measure, values in self._measures(batch).items():
            each = sum(
                members * factors.get(f"{kind} {measure}", 0.0) for kind, members in self._members.items()
            )
            if np.any(each):
                total = total + np.ascontiguousarray(values * each).sum(axis=1)
        return total

    def alone(self, configuration: Configuration) -> Batch:
        """Turn a canonical configuration into a batch of one."""
        return Encoder(self.frame, {}, configuration).batch(np.zeros((1, 0), dtype=np.int64))

    def _measures(self, batch: Batch) -> dict[str, Floats]:
        """Return the counts by name, each (n, layers)."""
        outputs, fan_in, weights = batch.layer_outputs, batch.fan_in, batch.weights
        macs = weights * self._positions
        padded = -(-outputs // WIDE) * WIDE * fan_in * self.frame.kernels * self._positions
        inner = np.where(self.frame.depthwise, 0, fan_in)
        counts = {
            "MACs": macs,
            f"MACs beside multiples of {WIDE}": macs * ((outputs % WIDE > 0) | (inner % WIDE > 0)),
            f"MACs beside multiples of {NARROW}": macs * ((outputs % NARROW > 0) | (inner % NARROW > 0)),
            f"MACs rounded up to {WIDE} outputs": padded,
            "outputs": outputs * self._positions,
            "weights": weights.astype(np.float64),
        }
        quantised, stored = batch.activation_bits <= 8, batch.weight_bits <= 8
        few = batch.weight_bits <= 4
        plain = np.ones_like(quantised)
        kernels = (~(quantised & stored), quantised & stored & ~few, quantised & few)
        modes = dict(zip(MODES, kernels, strict=True)) if self._integers else {MODES[0]: plain}
        found = {
            f"{mode} {name}": values * mask for mode, mask in modes.items() for name, values in counts.items()
        }
        inputs = batch.inputs[:, self.frame.layer_parts] * self._read
        found["quantised inputs"] = inputs * quantised
        if self._integers:
            found["clipped inputs"] = inputs * (batch.activation_bits < 8)
            found["stored weights"] = weights * (stored & ~quantised & ~few).astype(np.float64)
            found["narrow stored weights"] = weights * (few & ~quantised).astype(np.float64)
        return found


def _kind(kind: str, kernel: int) -> str:
    return "pointwise" if kind == "conv" and kernel == 1 else kind


@dataclass(frozen=True)
class Timed:
    """Measured latencies of configurations, relative to the dense model's.

    Args:
        configurations: canonical configurations, the dense model's first.
        ratios: undisturbed latency over the dense model's, timed in turn with it.
        repeats: the same ratio from every second turn and from the other turns; their difference is noise.
    """

    configurations: tuple[Configuration, ...]
    ratios: tuple[float, ...]
    repeats: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LatencyTable:
    """A fitted latency model, small enough to be stored with a search.

    Args:
        place: where it was measured: backend, threads, batch, processor, release.
        dense_ms: undisturbed latency of the dense model (`Timing.undisturbed`), ms.
        dense_p50: median wall-clock time of the dense model, ms.
        dense_p95: 95th percentile of its wall-clock time, ms.
        factors: feature -> ms per unit; factors of 0 are left out.
        errors: relative errors of configurations predicted by a fit without them: ``median``, ``p95`` and
            ``worst``; and ``noise``, the median difference of two measurements of one configuration.
        spread: quantiles of measured over predicted latency that cover `COVERED` of these configurations.
        configurations: number of timed configurations.
        runs: number of timed runs of the dense model.
    """

    place: Mapping[str, Any]
    dense_ms: float
    dense_p50: float
    dense_p95: float
    factors: Mapping[str, float]
    errors: Mapping[str, float]
    spread: tuple[float, float]
    configurations: int
    runs: int

    @property
    def options(self) -> LatencyOptions:
        """Options that the table was measured with."""
        return LatencyOptions(**{name: self.place[name] for name in ("backend", "threads", "batch")})

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "version": VERSION,
            "place": dict(self.place),
            "dense_ms": self.dense_ms,
            "dense_p50_ms": self.dense_p50,
            "dense_p95_ms": self.dense_p95,
            "factors": dict(self.factors),
            "errors": dict(self.errors),
            "spread": list(self.spread),
            "configurations": self.configurations,
            "runs": self.runs,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatencyTable:
        """Read what `to_json` wrote.

        Raises:
            StorageError: the table has another version.
        """
        if data.get("version") != VERSION:
            raise StorageError(
                f"this latency table has version {data.get('version')!r}; this release reads {VERSION}: use the "
                "release that the search was made with, or start a new search"
            )
        low, high = data["spread"]
        return cls(
            dict(data["place"]),
            data["dense_ms"],
            data["dense_p50_ms"],
            data["dense_p95_ms"],
            dict(data["factors"]),
            dict(data["errors"]),
            (low, high),
            data["configurations"],
            data["runs"],
        )


def fitted(features: LatencyFeatures, timed: Timed, place: Mapping[str, Any], dense: Timing) -> LatencyTable:
    """Fit a latency table to timed configurations.

    Args:
        features: features of the model.
        timed: the dense model and at least one other configuration.
        place: where they were timed.
        dense: timed runs of the dense model.
    """
    rows = [features.matrix(features.alone(each)) for each in timed.configurations]
    names, matrix = rows[0][0], np.vstack([row for _, row in rows])
    ratios = np.asarray(timed.ratios)
    # The dense model stays in every fit: if all candidates are quantised, nothing else shows its latency.
    held_out = np.asarray(
        [
            (matrix[row] * least_squares(np.delete(matrix, row, axis=0), np.delete(ratios, row))).sum()
            for row in range(1, len(ratios))
        ]
    )
    errors, actual = np.abs(held_out / ratios[1:] - 1), ratios[1:] / np.maximum(held_out, 1e-9)
    first, second = np.asarray(timed.repeats[1:]).T
    dense_ms = 1e3 * dense.undisturbed(place["threads"])
    factors = least_squares(matrix, ratios) * dense_ms
    return LatencyTable(
        dict(place),
        dense_ms,
        1e3 * dense.p50,
        1e3 * dense.p95,
        {name: float(factor) for name, factor in zip(names, factors, strict=True) if factor},
        {
            "median": float(np.median(errors)),
            "p95": float(np.quantile(errors, 0.95)),
            "worst": float(errors.max()),
            "noise": float(np.median(np.abs(first / second - 1))),
        },
        (float(np.quantile(actual, (1 - COVERED) / 2)), float(np.quantile(actual, (1 + COVERED) / 2))),
        len(ratios),
        len(dense.seconds),
    )


def least_squares(matrix: Floats, ratios: Floats) -> Floats:
    """Fit nonnegative factors (features,) to ratios (n,) by relative squared error; `matrix` is (n, features)."""
    from scipy.optimize import nnls  # half a second to import, and every search imports this module

    scale = matrix.max(axis=0)
    scale[scale == 0] = 1.0
    solution, _ = nnls(matrix / scale / ratios[:, None], np.ones(len(ratios)))
    return np.asarray(solution / scale, dtype=np.float64)


@dataclass(frozen=True)
class LatencyCost:
    """Predicted latency of a configuration in milliseconds, with an interval from the errors of its table.

    Args:
        features: features of the model.
        table: table fitted to the model.
    """

    features: LatencyFeatures = field(repr=False)
    table: LatencyTable

    def __call__(self, configuration: Configuration) -> float:
        """Predict the milliseconds of one run."""
        return float(self.many(self.features.alone(configuration))[0])

    def many(self, batch: Batch) -> Floats:
        """Predict milliseconds (n,)."""
        return np.asarray(self.features.total(batch, self.table.factors), dtype=np.float64)

    def bounds(self, value: float) -> tuple[float, float]:
        """Return the ends of the interval of a predicted value."""
        low, high = self.table.spread
        return value * min(low, 1.0), value * max(high, 1.0)
