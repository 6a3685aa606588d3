"""ONNX files for many configurations of one model, which is traced once because tracing takes seconds."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnx_ir
import torch
from torch import Tensor, nn

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.exchange.onnx_file import onnx_model
from leanfront.core.compressors.exchange.onnx_outputs import onnx_session
from leanfront.core.compressors.exchange.onnx_trace import trace
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.stand_in import stand_in

Pattern = tuple[tuple[str, int], ...]
"""Layers with quantised inputs, and whether these are clipped; the number of levels changes no shape."""
GRAPHS = 6
"""Number of traced graphs that are kept."""
TOLERANCE = 0.1
"""Allowed difference of the outputs, as a share of the largest: quantised inputs may round differently."""


class Tracer:
    """Writer of ONNX files for stand-ins.

    The dense model is traced once for every pattern of quantised inputs, and other configurations put their tensors
    into its graph. If the resulting file does not compute the outputs of the module, because the trace contains
    sizes of the dense model, the module itself is traced.

    Args:
        profile: profile of the dense model.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._graphs: dict[Pattern, onnx_ir.Model] = {}

    def file(self, compressed: Compressed) -> bytes:
        """Return the ONNX file of a module.

        Raises:
            CompressionError: the module cannot be traced.
        """
        configuration, example = compressed.configuration, self._profile.example_input
        pattern = tuple((layer, min(bits, 7)) for layer, bits in configuration.activation_bits.items())
        if pattern not in self._graphs:
            while len(self._graphs) >= GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            graph = trace(self._uncut(configuration), example)
            _flatten_freely(graph)
            self._graphs[pattern] = graph
        with suppress(Exception):  # any error of a graph that the tensors do not fit
            content = self._written(compressed, self._borrowed(self._graphs[pattern], compressed))
            if agrees(content, compressed.module, example):
                return content
        return self._written(compressed, None)

    def _uncut(self, configuration: Configuration) -> nn.Module:
        quantised = Configuration(
            activation_bits=configuration.activation_bits, activation_range=configuration.activation_range
        )
        return stand_in(self._profile, quantised).module

    def _written(self, compressed: Compressed, traced: onnx_ir.Model | None) -> bytes:
        return onnx_model(compressed, self._profile.structure, self._profile.example_input, traced=traced)

    def _borrowed(self, graph: onnx_ir.Model, compressed: Compressed) -> onnx_ir.Model:
        """Return a copy of a graph with the tensors of a module."""
        model = graph.clone()
        _put_tensors(model, compressed.module)
        shapes = self._profile.structure.shapes(compressed.configuration)
        for node in model.graph:
            for output in node.outputs:
                output.shape = None
            weight = node.inputs[1] if len(node.inputs) > 1 else None
            layer = "" if weight is None else (weight.name or "").removesuffix(".weight")
            if "group" in node.attributes and layer in shapes:
                node.attributes["group"] = onnx_ir.AttrInt64("group", shapes[layer].groups)
        return model


def agrees(content: bytes, module: nn.Module, example_input: Tensor) -> bool:
    """Whether a file computes the outputs of a module for an example, up to `TOLERANCE`."""
    session = onnx_session(content)
    (found,) = session.run(None, {session.get_inputs()[0].name: example_input.numpy()})
    with torch.no_grad():
        expected = module(example_input).numpy()
    if found.shape != expected.shape:
        return False
    return bool(np.allclose(found, expected, rtol=0.0, atol=TOLERANCE * float(np.abs(expected).max())))


def _put_tensors(model: onnx_ir.Model, module: nn.Module) -> None:
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, value in model.graph.initializers.items():
        if name in tensors:
            array = np.ascontiguousarray(tensors[name].detach().cpu().numpy())
            value.const_value = onnx_ir.tensor(array, name=name)
            value.shape = onnx_ir.Shape(array.shape)


def _flatten_freely(model: onnx_ir.Model) -> None:
    """Let the last side of reshaped tensors follow from the others; the trace fixed it to the traced module's."""
    for node in model.graph:
        if node.op_type != "Reshape":
            continue
        joined = _producer(node.inputs[1], "Concat")
        if joined is None:
            continue
        *others, last = (_producer(value, "Constant") for value in joined.inputs)
        sides = None if last is None else last.attributes.get("value_ints")
        free = any(_minus(each) for each in others)
        if last is None or sides is None or free or len(list(last.outputs[0].uses())) > 1:
            continue
        *kept, _ = sides.as_ints()
        last.attributes["value_ints"] = onnx_ir.AttrInt64s("value_ints", [*kept, -1])


def _producer(value: onnx_ir.Value | None, op_type: str) -> onnx_ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type else None


def _minus(node: onnx_ir.Node | None) -> bool:
    sides = None if node is None else node.attributes.get("value_ints")
    return sides is not None and -1 in sides.as_ints()
