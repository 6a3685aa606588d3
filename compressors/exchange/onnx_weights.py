"""Weights in the graph as the integers and scales of the packed artifact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from onnx_ir import DataType, Graph

from leanfront.core.compressors.exchange.onnx_graph import (
    Array,
    GraphLayer,
    add_initializer,
    along,
    constant,
    prepend,
)
from leanfront.core.compressors.quantisation.quantisers import Quantised
from leanfront.errors import CompressionError

MOST_BIAS = 2.0**30
"""Largest bias, in units of input step times weight step: it is added in 32 bits."""
SMALLEST_SCALE = 1e-30


@dataclass(frozen=True)
class Stored:
    """A layer's weight as the file holds it: integers (or float16 numbers) times a scale for each output channel.

    Args:
        numbers: int8 or float16, in the shape of the graph's weight.
        scale: float32, (channels,).
        bits: bits in the configuration: 2..8 or 16.
    """

    numbers: Array
    scale: Array
    bits: int

    @property
    def dtype(self) -> DataType:
        """Narrowest ONNX type that holds the numbers."""
        if self.bits == 16:
            return DataType.FLOAT16
        return DataType.INT4 if self.bits <= 4 else DataType.INT8

    @property
    def wider(self) -> str | None:
        """Name of the type if it is wider than the bits, else None."""
        exact = self.bits == self.dtype.bitwidth
        return None if exact else self.dtype.name.lower()

    def times(self, factor: Array) -> Stored:
        """Return the weight with each output channel multiplied by a factor, (channels,)."""
        return replace(self, scale=(self.scale * factor).astype(np.float32))


def stored(layer: GraphLayer, bits: int, quantised: Quantised | None) -> Stored:
    """Return a layer's weight in the form in which the file holds it.

    Args:
        layer: the layer, still with the module's weight.
        bits: 2..8 or 16.
        quantised: integers and scales, for up to 8 bits.

    Raises:
        CompressionError: the weight does not match the integers and scales.
    """
    weight = constant(layer.weight)
    if quantised is None:
        numbers = weight.astype(np.float16)
        scale = np.ones(weight.shape[layer.axis], dtype=np.float32)
    else:
        numbers = quantised.codes.cpu().numpy()
        numbers = numbers if quantised.axis == layer.axis else numbers.T
        scale = quantised.scale.cpu().numpy().astype(np.float32)
    if not np.array_equal(numbers * along(scale, layer.axis, weight.ndim), weight):
        raise CompressionError(
            f"layer '{layer.name}': its weights are not its integers times its scales; write the module as it was "
            "compressed, before folding or training it"
        )
    return Stored(numbers, scale, bits)


def put_weight(graph: Graph, layer: GraphLayer, weight: Stored, integer: bool) -> None:
    """Let all readers of a layer's weight read the stored weight.

    Integer kernels recognise DequantizeLinear. Other layers use Cast and Mul, which ONNX Runtime computes once, when
    it loads the model; it would compute a DequantizeLinear in each run.

    Args:
        graph: graph of the layer.
        layer: the layer, whose weight is an initialiser.
        weight: the stored weight.
        integer: whether kernels multiply the integers themselves.
    """
    name, axis = layer.name, layer.axis
    numbers = add_initializer(graph, f"{name}.weight", weight.numbers, weight.dtype)
    shaped = weight.scale if integer else along(weight.scale, axis, weight.numbers.ndim)
    scale = add_initializer(graph, f"{name}.weight_scale", shaped)
    nodes: list[tuple[str, dict[str, int]]]
    if not integer:
        nodes = [("Cast", {"to": DataType.FLOAT}), ("Mul", {})]
    elif weight.dtype == DataType.INT8:
        nodes = [("DequantizeLinear", {"axis": axis})]
    else:
        # Kernels read 8 bits; this Cast is also computed once.
        nodes = [("Cast", {"to": DataType.INT8}), ("DequantizeLinear", {"axis": axis})]
    value = prepend(graph, nodes, numbers, scale, f"{name}.weight_float")
    layer.weight.replace_all_uses_with(value)


def with_room_for_bias(weight: Stored, axis: int, bias: Array, step: float) -> Stored:
    """Zero the channels whose weights are so small beside their bias that integers of one scale cannot hold both.

    These are channels that a batch norm has switched off: only their bias is left.

    Args:
        weight: weight of an integer layer.
        axis: axis of its output channels.
        bias: (channels,).
        step: step of the layer's input.
    """
    least = np.maximum(np.abs(bias) / (MOST_BIAS * step), SMALLEST_SCALE)
    faint = np.abs(weight.scale) < least
    if not faint.any():
        return weight
    numbers = np.where(along(faint, axis, weight.numbers.ndim), 0, weight.numbers).astype(np.int8)
    return replace(weight, numbers=numbers, scale=np.where(faint, least, weight.scale).astype(np.float32))
