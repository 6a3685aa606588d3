"""Multiply-adds of a module, counted by fvcore under the project's convention.

`macs` is fvcore's total on the materialised module in eval mode, with batch norm not folded, the fused attention
path off, and additional handles for operators that fvcore omits. Operators without a handle are reported.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.errors import EvaluationError

with warnings.catch_warnings():
    # fvcore scripts a module when it is imported, which newer torch deprecates.
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import einsum_flop_jit, get_shape

_FREE = """
    add add_ sub rsub mul mul_ div div_ neg relu relu_ relu6 hardtanh hardtanh_ hardswish hardswish_
    hardsigmoid hardsigmoid_ silu silu_ gelu sigmoid sigmoid_ tanh exp softmax log_softmax clamp clamp_
    max_pool2d avg_pool2d mean sum pad constant_pad_nd dropout dropout_ feature_dropout leaky_relu
    leaky_relu_ elu prelu roll index_select fake_quantize_per_tensor_affine amin amax round pow sqrt
    rsqrt eq gt ge lt le where masked_fill masked_fill_ cumsum ones_like zeros_like fill_ index gather
    embedding cat stack repeat expand_as lift_fresh empty_like bernoulli_
    abs log sin cos min max maximum minimum floor ceil sign reciprocal square softplus mish celu selu
    logsigmoid glu threshold erf rsub_ tanh_ max_pool1d max_pool3d avg_pool1d avg_pool3d
    adaptive_max_pool2d unflatten flip tile movedim clone alias channel_shuffle pixel_shuffle
    pixel_unshuffle repeat_interleave broadcast_to ne logical_not logical_and logical_or tril triu
    topk sort argsort argmax scatter new_ones type_as to view_as reshape_as zero_ linspace
"""
FREE_OPERATORS = frozenset(f"aten::{name}" for name in _FREE.split())
"""Operators that count as free, as in fvcore: they multiply neither a weight nor a matrix."""


def attention_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """Count scaled dot-product attention: query x key and weights x value, B H L S (E + E_v)."""
    query, key, value = (get_shape(tensor) for tensor in inputs[:3])
    if query is None or key is None or value is None:
        return 0
    return int(math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def native_attention_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the fused multi-head attention of eval mode: projections (4 L E^2) and the two products (2 L S E)."""
    query, key = get_shape(inputs[0]), get_shape(inputs[1])
    if query is None or key is None:
        return 0
    batch, length, width = query
    return int(batch * (2 * length * width**2 + 2 * key[1] * width**2 + 2 * length * key[1] * width))


def recurrent_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """Count LSTM, GRU and plain recurrent layers: every weight matrix once per step."""
    sequence = get_shape(inputs[0])
    shapes = [get_shape(value) for value in inputs[2].node().inputs()]
    if sequence is None:
        return 0
    weights = sum(math.prod(shape) for shape in shapes if shape is not None and len(shape) == 2)
    return int(math.prod(sequence[:-1]) * weights)


def einsum_flops(inputs: list[Any], outputs: list[Any]) -> Any:
    """Count a contraction of two tensors: the product of the sizes of all its indices.

    fvcore's own count has three digits, because it is read from a text that NumPy prints.
    """
    equation = str(inputs[0].toIValue()).replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    shapes = [get_shape(value) for value in inputs[1].node().inputs()]
    if len(terms) != 2 or "." in equation or any(shape is None for shape in shapes):
        return einsum_flop_jit(inputs, outputs)
    sizes = {
        letter: side
        for term, shape in zip(terms, shapes, strict=True)
        for letter, side in zip(term, shape, strict=True)
    }
    return math.prod(sizes.values())


HANDLES = {
    "aten::einsum": einsum_flops,
    **dict.fromkeys(("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"), recurrent_flops),
    "aten::scaled_dot_product_attention": attention_flops,
    "aten::_native_multi_head_attention": native_attention_flops,
}
"""Handles in addition to fvcore's."""


def analyse(module: nn.Module, example_input: Tensor) -> FlopCountAnalysis:
    """Run fvcore's analysis of a module on one input, under the convention.

    Args:
        module: module in eval mode.
        example_input: tensor (1, ...) on the module's device.

    Raises:
        EvaluationError: the module cannot be traced.
    """
    analysis = FlopCountAnalysis(module, example_input)
    for name, handle in HANDLES.items():
        analysis.set_op_handle(name, handle)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with _quiet(), _slow_attention(), torch.no_grad():
        try:
            analysis.total()
        except Exception as error:
            raise EvaluationError(
                f"the model's operators cannot be traced, so its MACs are unknown ({type(error).__name__}: {error})"
            ) from error
    return analysis


def count_macs(module: nn.Module, example_input: Tensor) -> int:
    """Count the multiply-adds of a module for one input."""
    return int(analyse(module, example_input).total())


def unsupported(analysis: FlopCountAnalysis) -> dict[str, int]:
    """Return operators that are not counted but may cost something: name -> number of calls."""
    counted = analysis.unsupported_ops()
    return {name: int(calls) for name, calls in sorted(counted.items()) if name not in FREE_OPERATORS}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of tracing; their content is reported as coverage."""
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _slow_attention() -> Iterator[None]:
    """Turn off the fused attention path, which hides its matrix products from the tracer."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
