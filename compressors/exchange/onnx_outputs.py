"""Which layers kernels can multiply in integers, and 8-bit grids for their outputs.

ONNX Runtime's processor kernels read and write 8 bits. Where all readers of a convolution's output quantise it alike,
it is on their grid already. Elsewhere, as before a residual addition, each channel is given a fine grid of its own:
the convolution is scaled to a step of 1 by its scales and bias, and what is read is scaled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir
import onnxruntime
from onnx_ir import Graph, Node, Value
from torch import Tensor

from leanfront.core.compressors.exchange.onnx_graph import (
    Array,
    GraphLayer,
    add_initializer,
    along,
    bias_of,
    constant,
    input_step,
    is_constant,
    only_user,
    set_bias,
)

INTEGER_KERNELS = ("Conv", "MatMul")
"""Operators that ONNX Runtime's processor kernels multiply in integers as these files have them. A MatMul gives
float32; a Gemm is left as it is, and a transposed convolution has no such kernel."""
PASSING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
"""Operators that choose or move values: quantising before them is quantising behind them."""
WORTHWHILE = 512
"""Weights an output channel must have for a grid of its own, which the module that was measured has not. Rounding
and scaling back cost what the integer kernel saves below some 256, measured on an AVX-512 processor with ResNet-20.
Grids below 512, too, gave other answers on 0.3 to 0.7 points more of its validation images, most where accuracy was
lost: docs/benchmarks.md, "Files"."""
FAINTEST = 1e-4
"""Smallest step of a channel, as a share of the largest: a channel that is always zero needs some."""


@dataclass(frozen=True)
class Grids:
    """Of each channel the grid (integer - zero point) x step, integers in 0..255.

    Args:
        step: (channels,).
        zero_point: one for all, so that one operator rounds them.
    """

    step: Array
    zero_point: int


def integer_layers(
    layers: Iterable[GraphLayer],
) -> tuple[list[GraphLayer], dict[str, Value]]:
    """The layers that integer kernels can have, and the outputs that must be put on grids for it.

    Args:
        layers: with weights of up to 8 bits.

    Returns:
        The layers; of some the value to quantise, by the layer's name.
    """
    chosen, opened = [], {}
    for layer in layers:
        if not layer.products or any(input_step(product) is None for product in layer.products):
            continue
        kinds = {product.op_type for product in layer.products}
        outputs = [_open_output(p) for p in layer.products if p.op_type != "MatMul"]
        loose = [value for value in outputs if value is not None]
        if not kinds <= set(INTEGER_KERNELS) or (loose and not _deserves_grid(layer, loose[0])):
            continue
        chosen.append(layer)
        if loose:
            opened[layer.name] = loose[0]
    return chosen, opened


def _deserves_grid(layer: GraphLayer, value: Value) -> bool:
    weight = constant(layer.weight)
    depth = weight.size // weight.shape[layer.axis]
    bias = layer.products[0].inputs[2:3]
    plain = all(map(is_constant, (value for value in bias if value is not None)))
    return len(layer.products) == 1 and plain and depth >= WORTHWHILE and not value.is_graph_output()


def _open_output(product: Node) -> Value | None:
    """What a layer gives to readers that do not quantise it alike, or None where all do."""
    value = product.outputs[0]
    user = only_user(value)
    if user is not None and user.op_type == "Relu":
        value = user.outputs[0]
    return None if _ends_on_grid(value) else value


def _ends_on_grid(value: Value) -> bool:
    user = only_user(value)
    if user is not None and user.op_type in PASSING:
        return _ends_on_grid(user.outputs[0])
    return user is not None and user.op_type == "QuantizeLinear" and all(map(is_constant, user.inputs[1:]))


def drop_idle_clips(graph: Graph) -> None:
    """Remove clips to a range that the quantiser behind them clips to anyway, as that of a ReLU6."""
    for node in list(graph):
        quantise = only_user(node.outputs[0]) if node.op_type == "Clip" else None
        if quantise is None or quantise.op_type != "QuantizeLinear" or len(node.inputs) != 3:
            continue
        if not all(map(is_constant, (*node.inputs[1:], *quantise.inputs[1:]))):
            continue
        low, high, step, zero = (
            float(constant(v)) for v in (*node.inputs[1:], *quantise.inputs[1:]) if v is not None
        )
        behind = only_user(quantise.outputs[0])
        top = 255.0
        if behind is not None and behind.op_type == "Clip" and behind.inputs[2] is not None:
            top = float(constant(behind.inputs[2]))
        source = node.inputs[0]
        assert source is not None
        if low <= (0.5 - zero) * step and high >= (top - 0.5 - zero) * step:
            node.outputs[0].replace_all_uses_with(source)
            graph.remove(node, safe=True)


def put_on_grid(graph: Graph, layer: GraphLayer, value: Value, grids: Grids) -> Array:
    """Let all that read a layer's output read its rounded form.

    Args:
        graph: of the layer.
        layer: its bias is changed.
        value: its output, channels second.
        grids: of its channels.

    Returns:
        What each output channel of the weight must be multiplied with, (channels,).
    """
    users, node = list(value.uses()), value.producer()
    assert node is not None
    assert value.shape is not None
    bias = bias_of(layer.products[0])
    if bias is not None:
        set_bias(graph, layer, (bias / grids.step).astype(np.float32))
    name = f"{layer.name}.output"
    unit = add_initializer(graph, f"{name}_unit", np.array(1, dtype=np.float32))
    zero = add_initializer(graph, f"{name}_zero_point", np.array(grids.zero_point, dtype=np.uint8))
    steps = add_initializer(graph, f"{name}_scale", along(grids.step, 1, len(value.shape)))
    quantise = onnx_ir.node("QuantizeLinear", [value, unit, zero])
    dequantise = onnx_ir.node("DequantizeLinear", [quantise.outputs[0], unit, zero])
    scale = onnx_ir.node("Mul", [dequantise.outputs[0], steps])
    graph.insert_after(node, [quantise, dequantise, scale])
    for user, index in users:
        user.replace_input_with(index, scale.outputs[0])
    return np.asarray((1 / grids.step).astype(np.float32))


def grids_of(low: Array, high: Array) -> Grids:
    """The grids over [min(low, 0), max(high, 0)], of the zero point with the least steps, squared and summed.

    Args:
        low: (channels,).
        high: (channels,).
    """
    below, above = np.maximum(-low, 0).astype(np.float64), np.maximum(high, 0).astype(np.float64)
    zeros = np.arange(256)
    # With the zero at an end, nothing can lie beyond it.
    down = np.where(zeros > 0, below[:, None] / np.maximum(zeros, 1), np.where(below[:, None] > 0, np.inf, 0))
    up = np.where(
        zeros < 255, above[:, None] / np.maximum(255 - zeros, 1), np.where(above[:, None] > 0, np.inf, 0)
    )
    steps = np.maximum(down, up)
    zero = int(np.square(steps).sum(0).argmin())
    step = steps[:, zero]
    step = np.maximum(step, max(FAINTEST * float(step.max()), 1e-20))
    return Grids(step.astype(np.float32), zero)


def observe(
    model: onnx.ModelProto, values: Mapping[str, Value], batches: Iterable[Tensor], threads: int
) -> dict[str, Grids]:
    """Grids over what the channels of values run through.

    Args:
        model: that gives the values, without grids.
        values: channels second, by what names them in the answer.
        batches: inputs (n, ...).
        threads: that the session may use.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    outputs = []
    for name, value in values.items():
        assert value.name is not None
        assert value.shape is not None
        axes = onnx.numpy_helper.from_array(np.array([0, *range(2, len(value.shape))]), f"{name}:axes")
        probe.graph.initializer.append(axes)
        for kind in ("ReduceMin", "ReduceMax"):
            outputs.append(f"{name}:{kind}")
            node = onnx.helper.make_node(kind, [value.name, axes.name], [outputs[-1]], keepdims=0)
            probe.graph.node.append(node)
            described = onnx.helper.make_tensor_value_info(outputs[-1], onnx.TensorProto.FLOAT, ["channels"])
            probe.graph.output.append(described)
    session = session_of(probe.SerializeToString(), threads)
    lows: dict[str, Array] = {}
    highs: dict[str, Array] = {}
    for inputs in batches:
        found = session.run(outputs, {session.get_inputs()[0].name: inputs.cpu().contiguous().numpy()})
        for position, name in enumerate(values):
            low, high = found[2 * position], found[2 * position + 1]
            lows[name] = np.minimum(lows.get(name, low), low)
            highs[name] = np.maximum(highs.get(name, high), high)
    return {name: grids_of(*_clipped(value, lows[name], highs[name])) for name, value in values.items()}


def _clipped(value: Value, low: Array, high: Array) -> tuple[Array, Array]:
    """A range without what the clip behind a value takes away."""
    user = only_user(value)
    if user is None or user.op_type != "Clip" or not all(map(is_constant, user.inputs[1:])):
        return low, high
    bounds = [float(constant(v)) for v in user.inputs[1:] if v is not None]
    if len(bounds) != 2:
        return low, high
    return np.maximum(low, bounds[0]), np.minimum(high, bounds[1])


def session_of(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session on the processor.

    Args:
        content: of a model file.
        threads: it may use.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
