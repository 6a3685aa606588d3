"""Layers of a traced graph, and small changes to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir
from onnx_ir import DataType, Graph, Node, Value

from leanfront.core.compressors.structure.structure import Part

Array = npt.NDArray[Any]

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that layers are traced to; their second input is the weight."""


@dataclass(frozen=True)
class GraphLayer:
    """A layer in the graph.

    Args:
        name: name of the module.
        weight: initialiser that holds its weight.
        products: nodes that multiply with the weight: several if the module is called more than once, none if the
            module uses its weight in another way.
        axis: axis of the output channels in the weight.
    """

    name: str
    weight: Value
    products: tuple[Node, ...]
    axis: int


def layers_of(graph: Graph, parts: Mapping[str, Part]) -> dict[str, GraphLayer]:
    """Return the layers of a graph; weights that are read transposed are replaced by transposed initialisers.

    Args:
        graph: graph as traced.
        parts: parts of the dense model.
    """
    found = {}
    for name, part in parts.items():
        weight = graph.initializers.get(f"{name}.weight")
        if not part.is_layer or weight is None or not list(weight.uses()):
            continue
        readers = [node for node, _ in weight.uses()]
        if all(_swaps(node) for node in readers):
            turned = add_initializer(graph, f"{name}.weight", constant(weight).T)
            for node in readers:
                node.outputs[0].replace_all_uses_with(turned)
                graph.remove(node, safe=True)
            weight = turned
        uses = list(weight.uses())
        plain = all(node.op_type in PRODUCTS and index == 1 for node, index in uses)
        axes = {_output_axis(node) for node, _ in uses} if plain else {1 if part.transposed else 0}
        products = tuple(node for node, _ in uses) if plain and len(axes) == 1 else ()
        found[name] = GraphLayer(name, weight, products, axes.pop())
    return found


def _swaps(node: Node) -> bool:
    return node.op_type == "Transpose" and tuple(node.attributes["perm"].as_ints()) == (1, 0)


def _output_axis(node: Node) -> int:
    if node.op_type == "Gemm":
        turned = node.attributes.get("transB")
        return 0 if turned is not None and turned.as_int() else 1
    return 0 if node.op_type == "Conv" else 1


def constant(value: Value) -> Array:
    """Return the numbers of an initialiser."""
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy())


def is_constant(value: Value | None) -> bool:
    """Whether a value is an initialiser."""
    return value is not None and value.const_value is not None and value.is_initializer()


def bias_of(product: Node) -> Array | None:
    """Return the bias of a convolution or Gemm, (channels,), or None if it has none or it is not constant."""
    value = product.inputs[2] if len(product.inputs) > 2 else None
    return constant(value) if value is not None and is_constant(value) else None


def set_bias(graph: Graph, layer: GraphLayer, bias: Array) -> None:
    """Set the bias, (channels,), of a layer that is a single convolution or Gemm."""
    (product,) = layer.products
    if len(product.inputs) < 3:
        product.resize_inputs(3)
    product.replace_input_with(2, add_initializer(graph, f"{layer.name}.bias", bias))


def input_step(product: Node) -> float | None:
    """Return the step of the fixed 8-bit grid of a product's input, or None if there is none."""
    node = producer(product.inputs[0], "DequantizeLinear")
    if node is None or len(node.inputs) < 2 or not all(map(is_constant, node.inputs[1:])):
        return None
    assert node.inputs[1] is not None
    step = constant(node.inputs[1])
    return float(step) if step.size == 1 else None


def add_initializer(graph: Graph, name: str, array: Array, dtype: DataType | None = None) -> Value:
    """Add an initialiser, in place of one of the same name.

    Args:
        graph: graph that it is added to.
        name: name of the initialiser.
        array: its numbers; int8 for 4-bit integers.
        dtype: its type, if not the array's.
    """
    tensor = onnx_ir.tensor(np.array(array, order="C"), dtype=dtype, name=name)
    value = Value(
        name=name, type=onnx_ir.TensorType(tensor.dtype), shape=onnx_ir.Shape(array.shape), const_value=tensor
    )
    graph.initializers[name] = value
    return value


def prepend(
    graph: Graph, chain: Sequence[tuple[str, Mapping[str, Any]]], first: Value, last: Value, name: str
) -> Value:
    """Insert a chain of nodes, which reads only initialisers, before all other nodes.

    Args:
        graph: graph of the initialisers.
        chain: operators and their attributes; each reads the one before.
        first: input of the first node.
        last: second input of the last node.
        name: name of the chain's output.
    """
    value, nodes = first, []
    for position, (op_type, attributes) in enumerate(chain):
        inputs = [value, last] if position == len(chain) - 1 else [value]
        nodes.append(onnx_ir.node(op_type, inputs, attributes))
        value = nodes[-1].outputs[0]
    value.name = name
    graph.insert_before(graph[0], nodes)
    return value


def only_user(value: Value) -> Node | None:
    """Return the node that reads a value; None unless it is the only one and the value is no output of the graph."""
    users = list(value.uses())
    return users[0][0] if len(users) == 1 and not value.is_graph_output() else None


def producer(value: Value | None, *op_types: str) -> Node | None:
    """Return the node that computes a value, if it is of one of these types."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type in op_types else None


def along(vector: Array, axis: int, dimensions: int) -> Array:
    """Return a vector (n,) in the shape that broadcasts along an axis."""
    shape = [1] * dimensions
    shape[axis] = -1
    return vector.reshape(shape)
