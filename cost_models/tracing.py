"""ONNX files of many configurations of one model: tracing takes seconds, putting other tensors in does not."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnx_ir
import torch
from torch import Tensor, nn

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.exchange.onnx_file import onnx_model, onnx_session
from leanfront.core.compressors.exchange.onnx_trace import trace
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.stand_in import stand_in

Pattern = tuple[tuple[str, int], ...]
"""Which inputs are quantised, and whether clipped; to how many levels they are changes no shape."""
GRAPHS = 6
"""Graphs that are kept."""
TOLERANCE = 0.1
"""Of the outputs, as a share of the largest: quantised inputs round otherwise here and there."""


class Tracer:
    """Writes the ONNX files of stand-ins.

    The dense model is traced once for every choice of quantised inputs; other configurations put their tensors into
    its graph. Where the file of that does not compute what the module does, as the tracer wrote sizes down that are
    the dense model's, the module itself is traced.

    Args:
        profile: of the dense model.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._graphs: dict[Pattern, onnx_ir.Model] = {}

    def file(self, compressed: Compressed) -> bytes:
        """The file of a module.

        Raises:
            CompressionError: it cannot be traced.
        """
        configuration, example = compressed.configuration, self._profile.example_input
        pattern = tuple((layer, min(bits, 7)) for layer, bits in configuration.activation_bits.items())
        if pattern not in self._graphs:
            while len(self._graphs) >= GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            graph = trace(self._uncut(configuration), example)
            _flatten_freely(graph)
            self._graphs[pattern] = graph
        with suppress(Exception):  # whatever a graph raises into which the tensors do not fit
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
        """A copy of a graph with a module's tensors."""
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
    """Whether a file gives a module's outputs for an example, up to `TOLERANCE`."""
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
    """Let the last side of reshaped tensors follow from the others: it is written as the traced module's."""
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
