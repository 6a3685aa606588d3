"""Folding of batch norms into the layers before them, in the graph: integers stay, their scales change."""

from __future__ import annotations

import numpy as np
import onnx_ir
from onnx_ir import Graph, Node

from leanfront.core.compressors.exchange.onnx_graph import (
    Array,
    GraphLayer,
    along,
    bias_of,
    constant,
    is_constant,
    only_user,
    set_bias,
)


def fold_norm(graph: Graph, layer: GraphLayer) -> Array | None:
    """Fold a batch norm that is the only reader of a layer's output into the layer's weight and bias.

    Args:
        graph: graph of the layer.
        layer: the layer, with a float32 weight.

    Returns:
        Factors by which the weight's output channels were multiplied, (channels,); None if there is no such norm.
    """
    if len(layer.products) != 1 or not _takes_norms(layer.products[0]):
        return None
    product = layer.products[0]
    norm = only_user(product.outputs[0])
    if norm is None or norm.op_type != "BatchNormalization" or not all(map(is_constant, norm.inputs[1:])):
        return None
    gamma, beta, mean, variance = (constant(v).astype(np.float64) for v in norm.inputs[1:] if v is not None)
    factor = gamma / np.sqrt(variance + norm.attributes["epsilon"].as_float())
    bias = bias_of(product)
    set_bias(graph, layer, (beta + ((0 if bias is None else bias) - mean) * factor).astype(np.float32))
    weight = constant(layer.weight)
    folded = weight * along(factor, layer.axis, weight.ndim)
    layer.weight.const_value = onnx_ir.tensor(folded.astype(np.float32), name=layer.weight.name)
    norm.outputs[0].replace_all_uses_with(product.outputs[0], replace_graph_outputs=True)
    graph.remove(norm, safe=True)
    return np.asarray(factor.astype(np.float32))


def _takes_norms(product: Node) -> bool:
    if product.op_type == "ConvTranspose" and product.attributes["group"].as_int() != 1:
        return False
    bias = product.inputs[2] if len(product.inputs) > 2 else None
    return product.op_type != "MatMul" and (bias is None or is_constant(bias))
