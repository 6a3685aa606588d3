"""Costs of each layer under a configuration, from a coverage report, without the model."""

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
    """Costs of a layer, in the dense model and compressed.

    Args:
        dense: channel counts in the dense model.
        kept: channel counts that are left.
        bytes: bytes in the packed file's data section: weights, mask, scales, bias and input quantiser.
        dense_bytes: the same for the dense model.
        macs: multiply-adds per input.
        dense_macs: the same for the dense model.
    """

    dense: Shape
    kept: Shape
    bytes: int
    dense_bytes: int
    macs: float
    dense_macs: int


def layer_costs(coverage: Mapping[str, Any], configuration: Configuration) -> dict[str, LayerCost]:
    """Return the costs of each layer; layers without the necessary columns, as in older reports, are left out.

    Args:
        coverage: `Coverage.to_json` of the dense model.
        configuration: canonical configuration of that model.
    """
    units = {group["name"]: group["units"] for group in coverage["groups"]}
    gone = {name: units[name] - kept for name, kept in configuration.channels.items() if name in units}
    return {row["name"]: _layer_cost(row, gone, configuration) for row in coverage["layers"] if "cuts" in row}


def layer_macs(dense: int, part: Part, shape: Shape) -> float:
    """Return the multiply-adds of a layer cut to a shape, which are proportional to its weights.

    Args:
        dense: multiply-adds of the layer in the dense model.
        part: the layer in the dense model.
        shape: channel counts that are left.
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
