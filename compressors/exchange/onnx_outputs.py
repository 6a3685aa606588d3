"""Choice of the layers that run in integers, and 8-bit grids for their outputs.

ONNX Runtime's CPU kernels read and write 8 bits. If all readers of a convolution's output quantise it alike, it is
already on their grid. Otherwise, as before a residual addition, each channel gets a fine grid of its own: scales and
bias give the convolution a step of 1, and its output is scaled back for the readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import torch
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
"""Operators of these files that ONNX Runtime's CPU kernels multiply in integers. A MatMul returns float32; a Gemm is
left unchanged, and a transposed convolution has no integer kernel."""
PASSING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
"""Operators that only select or move values: quantising before or after them is the same."""
WORTHWHILE = 512
"""Smallest number of weights of an output channel with a grid of its own, which the measured module does not have.
Below some 256, rounding and scaling back cost what the integer kernel saves (ResNet-20 on an AVX-512 processor).
Grids below 512 also changed the answers on 0.3 to 0.7 points more of its validation images, most where accuracy was
lost: docs/benchmarks.md, "Files"."""
FAINTEST = 1e-4
"""Smallest step of a channel, as a share of the largest: an always-zero channel needs a positive step."""


@dataclass(frozen=True)
class Grids:
    """Grid of each channel: (integer - zero point) x step, with integers in 0..255.

    Args:
        step: (channels,).
        zero_point: zero point of all channels, so that one operator rounds them.
    """

    step: Array
    zero_point: int


def integer_layers(
    layers: Iterable[GraphLayer],
) -> tuple[list[GraphLayer], dict[str, Value]]:
    """Return the layers that integer kernels can compute, and the outputs that need grids for it.

    Args:
        layers: layers with weights of up to 8 bits.

    Returns:
        The layers, and for some of them the value to quantise, by the layer's name.
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
    """Return a layer's output if its readers do not all quantise it alike, else None."""
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
    """Remove clips, such as that of a ReLU6, that have no effect because the quantiser behind them clips as much."""
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
    """Let all readers of a layer's output read its rounded form.

    Args:
        graph: graph of the layer.
        layer: the layer; its bias is changed.
        value: output of the layer, channels second.
        grids: grids of its channels.

    Returns:
        Factors by which the weight's output channels must be multiplied, (channels,).
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
    """Return the grids over [min(low, 0), max(high, 0)], with the zero point of the least sum of squared steps.

    Args:
        low: smallest values, (channels,).
        high: largest values, (channels,).
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
    """Return grids over the observed ranges of the channels of values.

    Args:
        model: model that computes the values, without grids.
        values: name in the result -> value, channels second.
        batches: inputs (n, ...).
        threads: number of threads that the session may use.
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
    session = onnx_session(probe.SerializeToString(), threads)
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
    """Return a range limited by the clip behind a value, if there is one."""
    user = only_user(value)
    if user is None or user.op_type != "Clip" or not all(map(is_constant, user.inputs[1:])):
        return low, high
    bounds = [float(constant(v)) for v in user.inputs[1:] if v is not None]
    if len(bounds) != 2:
        return low, high
    return np.maximum(low, bounds[0]), np.minimum(high, bounds[1])


def onnx_session(content: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU.

    Args:
        content: content of a model file.
        threads: number of threads that the session may use.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def onnx_runner(content: bytes) -> Callable[[Tensor], Tensor]:
    """Return a function that runs a model file on a batch of inputs (n, ...) and returns its outputs."""
    session = onnx_session(content)
    name = session.get_inputs()[0].name
    return lambda inputs: torch.from_numpy(session.run(None, {name: inputs.numpy()})[0])
