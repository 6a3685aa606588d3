"""Limits of single layers and channel groups, compressed alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from leanfront.core.audit.kinds.limits.curves import Curve
from leanfront.core.audit.kinds.limits.thresholds import DELTA, Potential, potential
from leanfront.core.audit.versions import Configured
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.configuration import FLOAT_BITS

SPARSITIES = (0.5, 0.75, 0.9)
WIDTHS = (4, 3, 2)
REMOVED = (0.25, 0.5, 0.75)
MOST_LAYERS = 32
"""Largest number of layers swept, those with most weights, and of channel groups."""


@dataclass(frozen=True)
class LayerSweep:
    """One layer or channel group compressed step by step, with the rest left dense.

    Args:
        subject: name of the layer or group.
        axis: ``sparsity``, ``bits`` or ``channels``.
        ratios: share zeroed, 1 - bits / 32 or share removed at each step, ascending; without the dense model at 0.
        values: the same steps as share zeroed, bits or units kept.
        versions: the models.
    """

    subject: str
    axis: str
    ratios: tuple[float, ...]
    values: tuple[float, ...]
    versions: tuple[Configured, ...]


@dataclass(frozen=True)
class LayerLimit:
    """The result of a sweep.

    Args:
        subject, axis, ratios, values: as in the sweep.
        accuracies: accuracy at each step.
        dense: accuracy of the dense model on the same samples.
        potential: how far the layer can be compressed alone.
    """

    subject: str
    axis: str
    ratios: tuple[float, ...]
    values: tuple[float, ...]
    accuracies: tuple[float, ...]
    dense: float
    potential: Potential


Make = Callable[..., Configuration]


def layer_sweeps(
    structure: Structure, make: Make, most: int = MOST_LAYERS
) -> tuple[list[LayerSweep], list[str]]:
    """Return the sweeps of layers and channel groups, and the names of those left out.

    Args:
        structure: structure of the model.
        make: function that makes configurations of one criterion and method.
        most: largest number of layers, and of groups.
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
    """Compute the limit of a layer from the accuracy at each step of its sweep and of the dense model."""
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


def _sweep(
    structure: Structure, subject: str, axis: str, steps: Sequence[tuple[float, float, Configuration]]
) -> LayerSweep:
    """Make a sweep of the steps that change the model."""
    kept = [
        (ratio, value, Configured(f"{subject} {axis}-{value:g}", canonical))
        for ratio, value, wanted in steps
        if not (canonical := structure.canonical(wanted)).is_dense
    ]
    ratios, values, versions = zip(*kept, strict=True) if kept else ((), (), ())
    return LayerSweep(subject, axis, tuple(ratios), tuple(values), tuple(versions))


def _largest(sizes: Mapping[str, int], most: int) -> list[str]:
    """Return the names of the largest, in their original order."""
    chosen = set(sorted(sizes, key=lambda name: -sizes[name])[:most])
    return [name for name in sizes if name in chosen]
