"""The coverage report: what of a model is under control, what is left alone, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leanfront.core.compressors.artifact.layout import memory_bytes
from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.statistics.moments import Blocks
from leanfront.core.compressors.structure.structure import Structure


@dataclass(frozen=True)
class Coverage:
    """What a search can change in a model.

    Args:
        parameters: number of parameters.
        memory_bytes: of the dense model.
        macs: multiply-adds of the dense model.
        groups: one row a channel group: name, units, what it cuts.
        layers: one row a layer: name, kind, weights, macs, groups that cut it, and what
            `artifact/layer_costs.py` reads: inputs, outputs, groups of a convolution, kernel, bias, dtype, and its
            cuts: by which group, on which side, how many channels a unit.
        exclusions: what is left alone: name, what, reason.
        unsupported: operators whose multiply-adds are not counted: name -> calls.
        quantisable_bytes: share of the dense bytes in layers whose bits can be chosen, in [0, 1].
        prunable_bytes: share of the dense bytes in layers that a channel group cuts.
        quantisable_macs: share of the multiply-adds in layers whose bits can be chosen.
        prunable_macs: share of the multiply-adds in layers that a channel group cuts.
    """

    parameters: int
    memory_bytes: int
    macs: int
    groups: tuple[Mapping[str, Any], ...]
    layers: tuple[Mapping[str, Any], ...]
    exclusions: tuple[Mapping[str, str], ...]
    unsupported: Mapping[str, int]
    quantisable_bytes: float
    prunable_bytes: float
    quantisable_macs: float
    prunable_macs: float

    def to_json(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return {
            "parameters": self.parameters,
            "memory_bytes": self.memory_bytes,
            "macs": self.macs,
            "quantisable_bytes": self.quantisable_bytes,
            "prunable_bytes": self.prunable_bytes,
            "quantisable_macs": self.quantisable_macs,
            "prunable_macs": self.prunable_macs,
            "groups": [dict(row) for row in self.groups],
            "layers": [dict(row) for row in self.layers],
            "exclusions": [dict(row) for row in self.exclusions],
            "unsupported_operators": dict(self.unsupported),
        }


def coverage(
    structure: Structure, layer_macs: Mapping[str, int], total_macs: int, unsupported: Mapping[str, int]
) -> Coverage:
    """Build the report.

    Args:
        structure: of the dense model.
        layer_macs: multiply-adds of each layer.
        total_macs: of the whole model.
        unsupported: operators fvcore cannot count.
    """
    dense = memory_bytes(structure, Configuration())
    cuts: dict[str, list[dict[str, Any]]] = {}
    for group in structure.groups.values():
        for member in group.members:
            cut = {"group": group.name, "side": member.side, "per_unit": member.per_unit}
            cuts.setdefault(member.part, []).append(cut)
    layers, controlled, prunable, controlled_macs, prunable_macs = [], 0, 0, 0, 0
    for name in structure.layers:
        part = structure.parts[name]
        macs = layer_macs.get(name, 0)
        size = part.weights * 4
        controlled += size
        controlled_macs += macs
        if name in cuts:
            prunable += size
            prunable_macs += macs
        layers.append(
            {
                "name": name,
                "kind": part.kind,
                "weights": part.weights,
                "macs": macs,
                "groups": sorted({cut["group"] for cut in cuts.get(name, [])}),
                "inputs": part.inputs,
                "outputs": part.outputs,
                "convolution_groups": part.groups,
                "kernel": part.kernel,
                "bias": part.bias,
                "dtype": part.dtype,
                "cuts": cuts.get(name, []),
            }
        )
    groups = tuple(
        {
            "name": group.name,
            "units": group.units,
            "channels": group.units * max(m.per_unit for m in group.members if m.side == "out"),
            "proven": True,
            "members": [f"{m.part} ({m.side})" for m in group.members],
        }
        for group in structure.groups.values()
    )
    return Coverage(
        structure.parameters,
        dense,
        total_macs,
        groups,
        tuple(layers),
        tuple(
            {"name": n, "what": w, "reason": r} for n, w, r in (*structure.exclusions, *_refits(structure))
        ),
        dict(unsupported),
        _share(controlled, dense),
        _share(prunable, dense),
        _share(controlled_macs, total_macs),
        _share(prunable_macs, total_macs),
    )


def _refits(structure: Structure) -> list[tuple[str, str, str]]:
    """Layers that the layer bank refits not at all or in runs of inputs."""
    found = []
    for name in structure.layers:
        part = structure.parts[name]
        runs = len(Blocks.of(part).runs)
        if part.transposed:
            found.append((name, "refit", "a transposed convolution is rounded plainly"))
        elif name in structure.uncalled:
            found.append((name, "refit", "it is never called itself, so it is rounded plainly"))
        elif runs > 1:
            inputs = part.inputs // part.groups * part.kernel
            reason = f"{inputs:,} inputs are refitted in {runs} runs, as if runs had nothing in common"
            found.append((name, "refit", reason))
    return found


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
