"""Tracing of a compressed module into an ONNX graph, with the same operators and float32 weights.

Quantisers of activations become QuantizeLinear and DequantizeLinear exactly where the module has them.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import onnx_ir
import torch
from onnx_ir.passes import common
from onnxscript import opset21, optimizer
from torch import Tensor, nn

from leanfront.core.compressors.exchange.export_program import captured
from leanfront.core.compressors.quantisation.activations import NAME
from leanfront.core.compressors.quantisation.quantisers import ActivationQuantiser
from leanfront.errors import CompressionError

OPSET = 21
"""First operator set with 4-bit integers."""
INPUT, OUTPUT = "input", "logits"
op: Any = opset21
"""Typed as Any, since its functions are given tracers here, which their annotations do not allow."""


@torch.library.custom_op("leanfront::quantise", mutates_args=())
def _marker(inputs: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    """Quantise like a calibrated quantiser; a custom operator, so that the tracer keeps it whole."""
    output: Tensor = torch.fake_quantize_per_tensor_affine(inputs, scale, zero_point, 0, 2**bits - 1)
    return output


@torch.library.custom_op("leanfront::quantise_dynamically", mutates_args=())
def _dynamic_marker(inputs: Tensor, bits: int) -> Tensor:
    """Quantise with each batch's own range."""
    output: Tensor = ActivationQuantiser(bits)(inputs)
    return output


@_marker.register_fake
@_dynamic_marker.register_fake
def _like(inputs: Tensor, *_: object) -> Tensor:
    return torch.empty_like(inputs)


class _Marked(nn.Module):
    """Stand-in for a quantiser while a module is traced."""

    def __init__(self, quantiser: ActivationQuantiser) -> None:
        super().__init__()
        self.bits, self.dynamic = quantiser.bits, quantiser.dynamic
        self.scale, self.zero_point = float(quantiser.scale), int(quantiser.zero_point)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.dynamic:
            output: Tensor = _dynamic_marker(inputs, self.bits)
        else:
            output = _marker(inputs, self.scale, self.zero_point, self.bits)
        return output


def _calibrated(inputs: Any, scale: float, zero_point: int, bits: int) -> Any:
    step = op.Constant(value=onnx_ir.tensor(np.float32(scale)))
    zero = op.Constant(value=onnx_ir.tensor(np.uint8(zero_point)))
    return op.DequantizeLinear(_within(op.QuantizeLinear(inputs, step, zero), bits), step, zero)


def _dynamic(inputs: Any, bits: int) -> Any:
    if bits == 8:
        integers, step, zero = op.DynamicQuantizeLinear(inputs)
        return op.DequantizeLinear(integers, step, zero)
    low = op.Min(op.ReduceMin(inputs, keepdims=0), 0.0)
    high = op.Max(op.ReduceMax(inputs, keepdims=0), 0.0)
    step = op.Max(op.Div(op.Sub(high, low), float(2**bits - 1)), float(np.finfo(np.float32).tiny))
    zero = op.Cast(op.Round(op.Div(op.Neg(low), step)), to=onnx_ir.DataType.UINT8)
    return op.DequantizeLinear(_within(op.QuantizeLinear(inputs, step, zero), bits), step, zero)


def _within(integers: Any, bits: int) -> Any:
    """Clip integers of fewer than 8 bits, which remain uint8: kernels read no narrower types."""
    if bits == 8:
        return integers
    return op.Clip(integers, None, op.Constant(value=onnx_ir.tensor(np.uint8(2**bits - 1))))


def trace(module: nn.Module, example_input: Tensor) -> onnx_ir.Model:
    """Return the graph of a module with a free batch size; initialisers have the names of the module's tensors.

    Args:
        module: the module, in eval mode.
        example_input: a batch that the module accepts, (n, ...).

    Raises:
        CompressionError: the module cannot be traced, or has an operator that ONNX lacks.
    """
    module = copy.deepcopy(module).cpu().eval()
    for layer in list(module.modules()):
        if isinstance(getattr(layer, NAME, None), ActivationQuantiser):
            setattr(layer, NAME, _Marked(getattr(layer, NAME)))
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                captured(module, example_input.cpu()),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                custom_translation_table={
                    torch.ops.leanfront.quantise.default: _calibrated,
                    torch.ops.leanfront.quantise_dynamically.default: _dynamic,
                },
                optimize=False,
                verbose=False,
            )
    except CompressionError:
        raise
    except Exception as error:  # any error of the tracer
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise CompressionError(f"ONNX export cannot trace this model: {reason}") from error
    assert program is not None
    return program.model


def tidy(model: onnx_ir.Model, weights: Iterable[str]) -> None:
    """Fold constants and merge equal subexpressions, in place, except for some initialisers.

    Args:
        model: model as traced.
        weights: names of the initialisers that stay as they are.
    """
    graph = model.graph
    guarded = [graph.initializers.pop(name) for name in weights if name in graph.initializers]
    tensors = [value.const_value for value in guarded]
    # Made inputs for now, since inputs are not folded.
    for value in guarded:
        value.const_value = None
        graph.inputs.append(value)
    optimizer.optimize(model)
    common.CommonSubexpressionEliminationPass()(model)
    for value, tensor in zip(guarded, tensors, strict=True):
        graph.inputs.remove(value)
        value.const_value = tensor
        assert value.name is not None
        graph.initializers[value.name] = value
