"""The ONNX file computes what the module does, holds the integers of the packed artifact, and multiplies integers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import Compressed, Compressor, Configuration
from leanfront.core.compressors.exchange import onnx_file
from leanfront.core.compressors.exchange.onnx_file import onnx_model
from leanfront.core.compressors.exchange.onnx_outputs import onnx_session
from leanfront.core.targets import Target
from leanfront.errors import CompressionError

Make = Callable[[nn.Module], Target]


class Deep(nn.Module):
    """A stem with pooling, a residual block deep enough for grids of its own, ReLU6, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.norm0 = nn.BatchNorm2d(64)
        self.inner = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(64)
        self.outer = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(64)
        self.leave = nn.Conv2d(64, 12, 1)
        self.hidden = nn.Linear(12 * 4, 10)
        self.linear = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.norm0(self.stem(x))), 2)
        x = functional.relu(x + self.norm2(self.outer(functional.relu6(self.norm1(self.inner(x))))))
        x = functional.max_pool2d(functional.relu(self.leave(x)), 2).flatten(1)
        return self.linear(functional.relu(self.hidden(x)))


class SharedLayer(nn.Module):
    """A convolution called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 8, 3, padding=1)
        self.twice = nn.Conv2d(8, 8, 3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.enter(x))
        return self.linear(functional.relu(self.twice(functional.relu(self.twice(x)))).mean((2, 3)))


class Standardised(nn.Conv2d):
    """A convolution that makes something else of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight, self.bias, padding=1)


def uniform(
    compressor: Compressor, bits: int | None, activations: int | None, **fields: object
) -> Configuration:
    layers = compressor.structure.layers
    return Configuration(
        weight_bits=dict.fromkeys(layers, bits) if bits else {},
        activation_bits=dict.fromkeys(layers, activations) if activations else {},
        **fields,  # type: ignore[arg-type]
    )


def written(compressor: Compressor, compressed: Compressed, **options: object) -> bytes:
    return onnx_model(
        compressed,
        compressor.structure,
        compressor.target.example_input,
        calibration=compressor.context.calibration.batches,
        **options,  # type: ignore[arg-type]
    )


def outputs(content: bytes, inputs: Tensor) -> Tensor:
    return torch.from_numpy(onnx_session(content).run(["logits"], {"input": inputs.numpy()})[0])


def held(content: bytes) -> dict[str, TensorProto]:
    return {each.name: each for each in onnx.load_from_string(content).graph.initializer}


def optimised(content: bytes, folder: Path) -> list[str]:
    """Operators that ONNX Runtime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]


def validation(target: Target) -> Tensor:
    return torch.cat([inputs for inputs, _ in target.validation.batches(64, "cpu")]).contiguous()


def agree(content: bytes, module: nn.Module, inputs: Tensor, tolerance: float) -> None:
    with torch.no_grad():
        expected = module(inputs)
    found = outputs(content, inputs)
    error = float((found - expected).square().mean().sqrt() / expected.std())
    assert error <= tolerance


@pytest.fixture(scope="module")
def deep(make_target: Make, nets: Mapping[str, Any]) -> Compressor:
    """Of `Deep`, with channels that its norms turn round and off."""
    model = replace(nets["chain"], make=Deep).build()
    with torch.no_grad():
        model.norm0.weight[3] *= -1
        model.norm2.weight[5], model.norm2.bias[5] = 0.0, 0.5
    return Compressor(make_target(model, 128))


@pytest.fixture(scope="module")
def eight(deep: Compressor) -> tuple[Compressed, bytes]:
    """Weights and activations of 8 bits."""
    compressed = deep.materialise(uniform(deep, 8, 8))
    return compressed, written(deep, compressed)


@pytest.mark.parametrize(
    "name",
    [
        "chain",
        "residual",
        "depthwise",
        "grouped",
        "squeeze-excite",
        "option-a",
        "transposed",
        "volume",
        "attention",
    ],
)
def test_every_network_gives_what_its_module_gives(
    name: str, nets: Mapping[str, Any], make_target: Make
) -> None:
    compressor = Compressor(make_target(nets[name].build()))
    structure = compressor.structure
    widths = dict(zip(structure.layers, itertools.cycle([8, 4, 2, 16, 5]), strict=False))
    configuration = Configuration(
        weight_bits=widths,
        activation_bits=dict(zip(structure.layers, itertools.cycle([8, 8, 5]), strict=False)),
        channels={group: max(1, found.units // 2) for group, found in structure.groups.items()},
    )
    compressed = compressor.materialise(configuration)
    content = written(compressor, compressed)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    inputs = validation(compressor.target)
    for count in (1, 2, 7):
        assert outputs(content, inputs[:count]).shape == (count, 4)
    # Here and there a number on the edge is rounded to the other side.
    agree(content, compressed.module, inputs, 0.05)


@pytest.mark.parametrize(("bits", "kind"), [(2, "INT4"), (5, "INT8"), (16, "FLOAT16")])
def test_weights_are_the_artifact_s_own_integers(
    deep: Compressor, bits: int | None, kind: str, tmp_path: Path
) -> None:
    compressed = deep.materialise(uniform(deep, bits, None, channels={"inner": 20}))
    content = written(deep, compressed, target="deep")
    initialisers = held(content)
    modules = dict(compressed.module.named_modules())
    for name in deep.structure.layers:
        tensor = initialisers[f"{name}.weight"]
        assert TensorProto.DataType.Name(tensor.data_type) == kind
        assert tuple(tensor.dims) == tuple(modules[name].weight.shape)
        if name in compressed.codes:
            codes = compressed.codes[name].codes.numpy()
            assert np.array_equal(numpy_helper.to_array(tensor).astype(np.int8), codes)
    agree(content, compressed.module, validation(deep.target), 1e-5)
    # Norms are gone, and what is constant is computed when the model is loaded.
    names = set(optimised(content, tmp_path))
    assert names.isdisjoint({"BatchNormalization", "Cast", "Mul", "DequantizeLinear"})
    notes = {each.key: each.value for each in onnx.load_from_string(content).metadata_props}
    wider = {2: "2 bits as int4", 5: "5 bits as int8"}
    assert json.loads(notes["leanfront.wider"]) == (
        {f"{name}.weight": wider[bits] for name in deep.structure.layers} if bits in wider else {}
    )
    assert json.loads(notes["leanfront.dequantised"]) == sorted(compressed.configuration.weight_bits)
    assert Configuration.from_json(notes["leanfront.configuration"]) == compressed.configuration
    assert notes["leanfront.target"] == "deep"


def test_files_shrink_with_the_bits(deep: Compressor) -> None:
    dense, four = (len(written(deep, deep.materialise(uniform(deep, bits, None)))) for bits in (None, 4))
    weights = sum(deep.structure.parts[name].weights for name in deep.structure.layers)
    # Less what scales and operators take.
    assert dense - four > 3.5 * weights - 3000


def test_eight_bits_run_in_integers(
    deep: Compressor, eight: tuple[Compressed, bytes], tmp_path: Path
) -> None:
    compressed, content = eight
    names = optimised(content, tmp_path)
    notes = {each.key: each.value for each in onnx.load_from_string(content).metadata_props}
    # Rounding the stem's output for itself costs more than it saves; there is no integer kernel for the others.
    assert json.loads(notes["leanfront.dequantised"]) == ["hidden", "linear", "stem"]
    assert json.loads(notes["leanfront.integer"]) == ["inner", "leave", "outer"]
    assert names.count("QLinearConv") == 3
    assert names.count("Clip") == 0
    agree(content, compressed.module, validation(deep.target), 0.02)
    assert json.loads(notes["leanfront.wider"]) == {}


def test_few_bits_run_in_integers_too(deep: Compressor, tmp_path: Path) -> None:
    compressed = deep.materialise(uniform(deep, 3, 6))
    content = written(deep, compressed)
    assert held(content)["inner.weight"].data_type == TensorProto.INT4
    assert optimised(content, tmp_path).count("QLinearConv") == 3
    agree(content, compressed.module, validation(deep.target), 0.03)
    notes = {each.key: each.value for each in onnx.load_from_string(content).metadata_props}
    assert json.loads(notes["leanfront.wider"])["inner.input"] == "6 bits as uint8"


def test_projections_of_tokens_run_in_integers(
    make_target: Make, nets: Mapping[str, Any], tmp_path: Path
) -> None:
    compressor = Compressor(make_target(nets["tokens"].build()))
    compressed = compressor.materialise(uniform(compressor, 4, 8))
    content = written(compressor, compressed)
    assert optimised(content, tmp_path).count("MatMulIntegerToFloat") == 2
    agree(content, compressed.module, validation(compressor.target), 0.02)


def test_own_grids_round_finely(eight: tuple[Compressed, bytes], deep: Compressor) -> None:
    """A grid for each channel: what the residual addition reads is off by less than 1/200 of its channel's range."""
    compressed, content = eight
    model = onnx.load_from_string(content)
    (scale,) = [node for node in model.graph.node if "outer.output_scale" in node.input]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(scale.output[0], TensorProto.FLOAT, ["b", 64, 4, 4])
    )
    inputs = torch.cat(deep.context.calibration.batches).contiguous()
    found = onnx_session(model.SerializeToString()).run([scale.output[0]], {"input": inputs.numpy()})[0]
    seen: list[Tensor] = []
    handle = compressed.module.get_submodule("norm2").register_forward_hook(
        lambda *call: seen.append(call[2])
    )
    with torch.no_grad():
        compressed.module(inputs)
    handle.remove()
    ranges = seen[0].amax((0, 2, 3)) - seen[0].amin((0, 2, 3))
    error = (torch.from_numpy(found) - seen[0]).abs().mean((0, 2, 3))
    assert bool((error <= ranges.clamp_min(0.5) / 200).all())


def test_dynamic_ranges(deep: Compressor) -> None:
    layers = dict(zip(deep.structure.layers, itertools.cycle([8, 5]), strict=False))
    configuration = Configuration(
        weight_bits={"inner": 8}, activation_bits=layers, activation_range="dynamic"
    )
    compressed = deep.materialise(configuration)
    agree(written(deep, compressed), compressed.module, validation(deep.target), 0.01)


def test_a_layer_called_twice_and_one_that_changes_its_weight(make_target: Make, tmp_path: Path) -> None:
    for model in (
        SharedLayer(),
        nn.Sequential(Standardised(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ):
        compressor = Compressor(make_target(model.eval()))
        compressed = compressor.materialise(uniform(compressor, 4, 8))
        content = written(compressor, compressed)
        for name in compressor.structure.layers:
            assert held(content)[f"{name}.weight"].data_type == TensorProto.INT4
        agree(content, compressed.module, validation(compressor.target), 0.02)


def test_a_module_that_is_not_its_integers_is_refused(deep: Compressor) -> None:
    compressed = deep.materialise(uniform(deep, 4, None))
    with torch.no_grad():
        compressed.module.get_submodule("inner").weight.mul_(1.01)  # type: ignore[operator]
    with pytest.raises(CompressionError, match="'inner': its weights are not its integers"):
        written(deep, compressed)


class Branches(nn.Module):
    """Does something else for large inputs, which no graph says."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 4)

    def forward(self, x: Tensor) -> Tensor:
        if float(x.mean()) > 1e6:
            return x.flatten(1)[:, :4]
        return self.linear(x.flatten(1))


def test_what_cannot_be_traced_is_said(make_target: Make) -> None:
    compressor = Compressor(make_target(Branches().eval()))
    with pytest.raises(CompressionError, match="cannot trace this model"):
        written(compressor, compressor.materialise(Configuration()))


def test_files_end_at_two_gibibytes(deep: Compressor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "LARGEST", 20_000)
    with pytest.raises(CompressionError, match=r"one file holds 20,000: write \.safetensors"):
        written(deep, deep.materialise(Configuration()))
