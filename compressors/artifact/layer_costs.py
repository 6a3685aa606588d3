"""What each layer costs under a configuration, told by a coverage report alone: no model is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leanfront.core.compressors.artifact.layout import layer_runs, run_bytes
from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.structure.structure import Part, Shape, weight_count

_DENSE = Configuration()


@dataclass(frozen=True)
class LayerCost:
    """A layer before and after.

    Args:
        dense: channel counts in the dense model.
        kept: channel counts that are left.
        bytes: in the packed file's data section: weights, which of them they are, scales, bias, input quantiser.
        dense_bytes: the same of the dense model.
        macs: multiply-adds of one input.
        dense_macs: the same of the dense model.
    """

    dense: Shape
    kept: Shape
    bytes: int
    dense_bytes: int
    macs: float
    dense_macs: int


def layer_costs(coverage: Mapping[str, Any], configuration: Configuration) -> dict[str, LayerCost]:
    """Layer -> what it costs; layers of a report by a release that told less of them are left out.

    Args:
        coverage: `Coverage.to_json` of the dense model.
        configuration: canonical for that model.
    """
    units = {group["name"]: group["units"] for group in coverage["groups"]}
    gone = {name: units[name] - kept for name, kept in configuration.channels.items() if name in units}
    return {row["name"]: _layer_cost(row, gone, configuration) for row in coverage["layers"] if "cuts" in row}


def layer_macs(dense: int, part: Part, shape: Shape) -> float:
    """Multiply-adds of a layer cut to a shape: they go with its weights.

    Args:
        dense: multiply-adds of the layer in the dense model.
        part: the layer, as the dense model has it.
        shape: what is left of it.
    """
    return dense * weight_count(shape.inputs, shape.outputs, shape.groups, part.kernel) / part.weights


def _layer_cost(row: Mapping[str, Any], gone: Mapping[str, int], configuration: Configuration) -> LayerCost:
    part = Part(
        row["name"],
        row["kind"],
        row["inputs"],
        row["outputs"],
        row["convolution_groups"],
        row["kernel"],
        row["bias"],
        dtype=row["dtype"],
    )
    lost = {"in": 0, "out": 0}
    for cut in row["cuts"]:
        lost[cut["side"]] += gone.get(cut["group"], 0) * cut["per_unit"]
    dense = part.shape(part.inputs, part.outputs)
    kept = part.shape(part.inputs - lost["in"], part.outputs - lost["out"])
    return LayerCost(
        dense,
        kept,
        run_bytes(layer_runs(part, kept, configuration)),
        run_bytes(layer_runs(part, dense, _DENSE)),
        layer_macs(row["macs"], part, kept),
        row["macs"],
    )
