"""Coverage report: which parts of a model can be compressed, which are left alone, and why."""

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
    """The parts of a model that a search can change, and those that it cannot.

    Args:
        parameters: number of parameters.
        memory_bytes: data section of the dense model's artifact, in bytes.
        macs: multiply-adds of the dense model.
        groups: one row per channel group: name, units, channels, members.
        layers: one row per layer: name, kind, weights, macs, groups that cut it, and the columns that
            `artifact/layer_costs.py` reads: inputs, outputs, groups of a convolution, kernel, bias, dtype, and
            cuts (group, side and channels per unit of each).
        exclusions: one row per module or group that is left alone: name, what, reason.
        unsupported: operators whose multiply-adds are not counted: name -> number of calls.
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
        """Return a JSON-ready dictionary."""
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
    """Build the coverage report of a model.

    Args:
        structure: structure of the dense model.
        layer_macs: layer -> multiply-adds.
        total_macs: multiply-adds of the whole model.
        unsupported: operators that fvcore cannot count: name -> number of calls.
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
    """Return exclusions for layers that the layer bank does not refit, or refits in runs of inputs."""
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
