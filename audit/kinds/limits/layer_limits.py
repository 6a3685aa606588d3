"""How much each layer alone bears, and the bounds of a search space that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leanfront.core.audit.kinds.limits.curves import Curve
from leanfront.core.audit.kinds.limits.thresholds import DELTA, Potential, first_crossing, potential
from leanfront.core.audit.versions import Configured
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.configuration import FLOAT_BITS
from leanfront.errors import UsageError

SPARSITIES = (0.5, 0.75, 0.9)
WIDTHS = (4, 3, 2)
REMOVED = (0.25, 0.5, 0.75)
MOST = 32
"""Layers that are swept, those of most weights; and as many channel groups."""
DROP = 0.02
"""Accuracy that a choice may cost on its layer alone before it is left out of a search space."""
SWEPT = {"sparsity": "share zeroed", "bits": "1 - weight bits / 32", "channels": "share removed"}


@dataclass(frozen=True)
class LayerSweep:
    """One layer, or channel group, compressed step by step, the rest left dense.

    Args:
        subject: its name.
        axis: in `SWEPT`.
        ratios: of the steps, ascending; the dense model, at 0, is not among them.
        values: the same in the axis' unit: share zeroed, bits, units kept.
        versions: the models.
    """

    subject: str
    axis: str
    ratios: tuple[float, ...]
    values: tuple[float, ...]
    versions: tuple[Configured, ...]


@dataclass(frozen=True)
class LayerLimit:
    """What came of it.

    Args:
        subject, axis, ratios, values: of the sweep.
        accuracies: at each step.
        dense: accuracy of the dense model on the same samples.
        potential: how far the layer goes alone.
    """

    subject: str
    axis: str
    ratios: tuple[float, ...]
    values: tuple[float, ...]
    accuracies: tuple[float, ...]
    dense: float
    potential: Potential


Make = Callable[..., Configuration]


def layer_sweeps(structure: Structure, make: Make, most: int = MOST) -> tuple[list[LayerSweep], list[str]]:
    """The sweeps of every layer and channel group, and the names of those beyond the cap.

    Args:
        structure: of the model.
        make: of configurations of one criterion and method.
        most: layers, and groups.
    """
    weights = {name: structure.parts[name].weights for name in structure.layers}
    layers = _largest(weights, most)
    sizes = {name: sum(weights.get(part, 0) for part in g.producers) for name, g in structure.groups.items()}
    groups = _largest(sizes, most)
    found = []
    for layer in layers:
        steps = [(share, share, make(sparsity={layer: share})) for share in SPARSITIES]
        found.append(_sweep(structure, layer, "sparsity", steps))
        steps = [(1 - w / FLOAT_BITS, w, make(weight_bits={layer: w})) for w in WIDTHS]
        found.append(_sweep(structure, layer, "bits", steps))
    for group in groups:
        units = structure.groups[group].units
        kept = [max(1, round(units * (1 - share))) for share in REMOVED]
        steps = [(1 - stay / units, stay, make(channels={group: stay})) for stay in dict.fromkeys(kept)]
        found.append(_sweep(structure, group, "channels", steps))
    left = [name for name in (*structure.layers, *structure.groups) if name not in (*layers, *groups)]
    return [sweep for sweep in found if sweep.versions], list(dict.fromkeys(left))


def layer_limit(
    sweep: LayerSweep, accuracies: Sequence[float], dense: float, delta: float = DELTA
) -> LayerLimit:
    """The limit of a sweep's layer, of the accuracy at each of its steps and of the dense model."""
    curve = Curve((0.0, *sweep.ratios), (dense, *accuracies))
    return LayerLimit(
        sweep.subject,
        sweep.axis,
        sweep.ratios,
        sweep.values,
        curve.accuracies[1:],
        dense,
        potential(curve, delta=delta),
    )


def bounds_of(document: Mapping[str, Any], *, accuracy_drop: float = DROP) -> dict[str, dict[str, float]]:
    """The bounds of a search space from an audit of limits: what costs a layer more than that alone is left out.

    Args:
        document: of an audit ``limits``.
        accuracy_drop: largest loss of accuracy, a share of samples, of one layer or channel group compressed alone.

    Returns:
        Layer, or channel group -> ``bits``, the lowest width allowed (one above the widest that lost more),
        ``sparsity``, the highest share of zeroed weights, and ``keep``, the lowest share of units kept, both where
        the line between measured steps crosses the loss; `search.SpaceOptions` takes it as ``bounds``. What was never
        seen to lose more has no bound.

    Raises:
        UsageError: no such document, or a drop outside [0, 1).
    """
    if not 0 <= accuracy_drop < 1:
        raise UsageError(f"accuracy_drop is a share of samples in [0, 1), not {accuracy_drop}")
    try:
        rows = [
            (
                str(row["subject"]),
                str(row["axis"]),
                tuple(map(float, row["values"])),
                Curve((0.0, *row["ratios"]), (row["dense"], *row["accuracies"])),
            )
            for row in document["layers"]["limits"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"no document of an audit 'limits' ({type(error).__name__}: {error}): its layers.limits are read"
        ) from None
    bounds: dict[str, dict[str, float]] = {}
    for subject, axis, values, curve in rows:
        lost = [
            value
            for value, accuracy in zip(values, curve.accuracies[1:], strict=True)
            if curve.accuracies[0] - accuracy > accuracy_drop + 1e-12
        ]
        if not lost:
            continue
        own = bounds.setdefault(subject, {})
        if axis == "bits":
            own["bits"] = int(max(lost)) + 1
        elif axis == "sparsity":
            own["sparsity"] = round(first_crossing(curve, accuracy_drop), 6)
        elif axis == "channels":
            own["keep"] = round(1 - first_crossing(curve, accuracy_drop), 6)
    return bounds


def _sweep(
    structure: Structure, subject: str, axis: str, steps: Sequence[tuple[float, float, Configuration]]
) -> LayerSweep:
    """The steps that change anything."""
    kept = [
        (ratio, value, Configured(f"{subject} {axis}-{value:g}", canonical))
        for ratio, value, wanted in steps
        if not (canonical := structure.canonical(wanted)).is_dense
    ]
    ratios, values, versions = zip(*kept, strict=True) if kept else ((), (), ())
    return LayerSweep(subject, axis, tuple(ratios), tuple(values), tuple(versions))


def _largest(sizes: Mapping[str, int], most: int) -> list[str]:
    """The names of the largest, in their own order."""
    chosen = set(sorted(sizes, key=lambda name: -sizes[name])[:most])
    return [name for name in sizes if name in chosen]
