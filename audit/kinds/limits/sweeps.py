"""Sweeps: a model compressed step by step along one axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.versions import Configured, Dense, Version
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.artifact.layout import memory_bytes
from leanfront.core.compressors.configuration import FLOAT_BITS

SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
REMOVED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
WIDTHS = (16, 8, 7, 6, 5, 4, 3, 2)


@dataclass(frozen=True)
class Point:
    """One step of a sweep.

    Args:
        ratio: compression ratio, 0 for the dense model.
        value: the step in the axis's own unit (share, bits, candidate).
        version: the compressed version.
    """

    ratio: float
    value: float
    version: Version


@dataclass(frozen=True)
class Sweep:
    """The steps along an axis, the dense model first, with strictly ascending ratios.

    Args:
        axis: name in `AXES`, or `FRONTIER`.
        unit: meaning of the ratios, for readers.
        points: the steps.
    """

    axis: str
    unit: str
    points: tuple[Point, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ratios of the points."""
        return tuple(point.ratio for point in self.points)


Make = Callable[..., Configuration]
"""Function that makes configurations of one criterion and method."""


def sparsity(structure: Structure, make: Make) -> Sweep:
    """Sweep the share of zeroed weights, the same in every layer."""
    steps = [(share, share, make(sparsity=dict.fromkeys(structure.layers, share))) for share in SPARSITIES]
    return _configured("sparsity", "share of every layer's weights that is zeroed", structure, steps)


def channels(structure: Structure, make: Make) -> Sweep:
    """Sweep the share of units removed from every channel group, leaving at least one unit."""
    steps = [(share, share, make(channels=kept_units(structure, share))) for share in REMOVED]
    return _configured("channels", "share of every channel group that is removed", structure, steps)


def bits(structure: Structure, make: Make) -> Sweep:
    """Sweep the weight width, the same in every layer; the ratio is 1 - bits / 32."""
    steps = [
        (
            1 - width / FLOAT_BITS,
            width,
            make(weight_bits=dict.fromkeys(structure.layers, width)),
        )
        for width in WIDTHS
    ]
    return _configured("bits", "1 - weight bits / 32", structure, steps)


AXES: dict[str, Callable[[Structure, Make], Sweep]] = {
    "sparsity": sparsity,
    "channels": channels,
    "bits": bits,
}
"""Axes along which every part of a model is compressed alike."""
FRONTIER = "frontier"


def frontier(structure: Structure, versions: Sequence[Version]) -> Sweep:
    """Order candidates by the memory that they save; of equal ones, the first is used.

    Args:
        structure: structure of the model.
        versions: versions; those that are not candidates are left out.
    """
    dense = memory_bytes(structure, Configuration())
    points: dict[float, Point] = {0.0: Point(0.0, 0, Dense())}
    for version in versions:
        if isinstance(version, Configured) and version.candidate is not None:
            ratio = 1 - memory_bytes(structure, version.configuration) / dense
            if ratio > 0:
                points.setdefault(ratio, Point(ratio, version.candidate, version))
    ordered = tuple(points[ratio] for ratio in sorted(points))
    return Sweep(FRONTIER, "1 - memory / the dense model's, best candidate of at most that", ordered)


def sweeps(auditor: Auditor) -> list[Sweep]:
    """Return the sweeps that have more than the dense model."""
    make = partial(Configuration, criterion=auditor.options.criterion, method=auditor.options.method)
    found = [axis(auditor.structure, make) for axis in AXES.values()]
    found.append(frontier(auditor.structure, auditor.versions))
    return [sweep for sweep in found if len(sweep.points) > 1]


def kept_units(structure: Structure, removed: float) -> dict[str, int]:
    """Return the units of every channel group that stay when a share is removed."""
    return {name: max(1, round(group.units * (1 - removed))) for name, group in structure.groups.items()}


def _configured(
    axis: str, unit: str, structure: Structure, steps: Sequence[tuple[float, float, Configuration]]
) -> Sweep:
    """Make a sweep of the steps that differ from the one before; in narrow groups and small layers, some do not."""
    points, before = [Point(0.0, 0.0 if axis != "bits" else FLOAT_BITS, Dense())], Configuration()
    for ratio, value, wanted in steps:
        configuration = structure.canonical(wanted)
        if configuration != before:
            points.append(Point(ratio, value, Configured(f"{axis}-{value:g}", configuration)))
        before = configuration
    return Sweep(axis, unit, tuple(points))
