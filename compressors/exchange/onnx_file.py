"""The ONNX file of a compressed module.

Weights are the packed artifact's integers with its scales, batch norms are folded into the scales, and layers whose
inputs are quantised are written so that ONNX Runtime multiplies integers. Tensors of bit-widths that ONNX lacks use
the next wider type; the file's metadata name them, and the layers that run dequantised.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping

import onnx
import onnx_ir
import torch
from onnx_ir.passes import common as passes
from torch import Tensor

from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.exchange.onnx_graph import bias_of, input_step, layers_of
from leanfront.core.compressors.exchange.onnx_norms import fold_norm
from leanfront.core.compressors.exchange.onnx_outputs import (
    drop_idle_clips,
    integer_layers,
    observe,
    put_on_grid,
)
from leanfront.core.compressors.exchange.onnx_trace import tidy, trace
from leanfront.core.compressors.exchange.onnx_weights import Stored, put_weight, stored, with_room_for_bias
from leanfront.core.compressors.structure.structure import Structure
from leanfront.errors import CompressionError

LARGEST = 2**31 - 2**20
"""Maximum bytes of tensors in one file: protocol buffers are limited to 2 GiB, and names need some space."""


def onnx_model(
    compressed: Compressed,
    structure: Structure,
    example_input: Tensor,
    *,
    target: str = "",
    calibration: Iterable[Tensor] | None = None,
    traced: onnx_ir.Model | None = None,
) -> bytes:
    """Return the ONNX model of a compressed module, with a free batch size.

    Args:
        compressed: the compressed model as the compressor made it, neither folded nor trained since.
        structure: structure of the dense model.
        example_input: a batch that the model accepts, (n, ...).
        target: name written into the metadata.
        calibration: inputs (n, ...) that give the ranges of outputs on 8-bit grids; by default the example input,
            which is enough to measure latency.
        traced: the module's graph as `trace` returned it, if it is already traced; it is changed.

    Raises:
        CompressionError: the model cannot be traced, does not match its integers, or is too large for one file.
    """
    model = trace(compressed.module, example_input) if traced is None else traced
    tidy(model, [f"{name}.weight" for name in structure.layers])
    graph, bits = model.graph, compressed.configuration.weight_bits
    layers = layers_of(graph, {name: structure.parts[name] for name in structure.layers})
    weights = {n: stored(layers[n], b, compressed.codes.get(n)) for n, b in bits.items() if n in layers}
    for name, layer in layers.items():
        factor = fold_norm(graph, layer)
        if factor is not None and name in weights:
            weights[name] = weights[name].times(factor)
    drop_idle_clips(graph)
    integer, opened = integer_layers(layers[name] for name, weight in weights.items() if weight.bits <= 8)
    if opened:
        batches = (example_input,) if calibration is None else calibration
        grids = observe(_proto(model), opened, batches, torch.get_num_threads())
        for name, value in opened.items():
            factor = put_on_grid(graph, layers[name], value, grids[name])
            weights[name] = weights[name].times(factor)
    for layer in integer:
        for product in layer.products:
            bias, step = bias_of(product), input_step(product)
            if bias is not None and step is not None:
                weights[layer.name] = with_room_for_bias(weights[layer.name], layer.axis, bias, step)
    names = [layer.name for layer in integer]
    for name, weight in weights.items():
        put_weight(graph, layers[name], weight, name in names)
    passes.RemoveUnusedNodesPass()(model)
    passes.ClearMetadataAndDocStringPass()(model)
    model.producer_name, model.producer_version = "leanfront", importlib.metadata.version("leanfront")
    model.metadata_props.update(_metadata(compressed.configuration, target, weights, names))
    proto = _proto(model)
    onnx.checker.check_model(proto, full_check=True)
    # Intermediate shapes follow from the rest.
    del proto.graph.value_info[:]
    return bytes(proto.SerializeToString())


def _proto(model: onnx_ir.Model) -> onnx.ModelProto:
    values = model.graph.initializers.values()
    size = sum(value.const_value.nbytes for value in values if value.const_value is not None)
    if size > LARGEST:
        raise CompressionError(
            f"the model's tensors take {size:,} bytes in ONNX, and one file holds {LARGEST:,}: write .safetensors or "
            ".pt2, or quantise more"
        )
    return onnx_ir.to_proto(model)


def _metadata(
    configuration: Configuration, target: str, weights: Mapping[str, Stored], integer: list[str]
) -> dict[str, str]:
    wider = {
        f"{name}.weight": f"{weight.bits} bits as {weight.wider}"
        for name, weight in weights.items()
        if weight.wider is not None
    }
    wider |= {
        f"{name}.input": f"{bits} bits as uint8"
        for name, bits in configuration.activation_bits.items()
        if bits < 8
    }
    return {
        "leanfront.version": importlib.metadata.version("leanfront"),
        "leanfront.target": target,
        "leanfront.configuration": configuration.canonical_text(),
        "leanfront.wider": json.dumps(wider, sort_keys=True),
        "leanfront.integer": json.dumps(sorted(integer)),
        "leanfront.dequantised": json.dumps(sorted(set(weights) - set(integer))),
    }
