"""What runs when latency is measured: stand-ins like the real modules, files like the exported ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from leanfront.core.compressors import ActivationQuantiser, Configuration
from leanfront.core.compressors.exchange.onnx_file import onnx_model
from leanfront.core.cost_models import BACKENDS, LatencyOptions, Profile
from leanfront.core.cost_models import tracing as tracing_module
from leanfront.core.cost_models.backends import batch_of
from leanfront.core.cost_models.latency import LatencyPlan, drawn
from leanfront.core.cost_models.stand_in import stand_in
from leanfront.core.cost_models.tracing import Tracer, agrees


def types(module: nn.Module) -> list[tuple[str, str, int, bool]]:
    """Modules by name, with their type, how many bits their quantiser has, and whether its lowest level is 0."""
    found = []
    for name, each in module.named_modules():
        quantises = isinstance(each, ActivationQuantiser)
        bits = each.bits if quantises else 0
        found.append((name, type(each).__name__, bits, quantises and int(each.zero_point) == 0))
    return found


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet", "vit"])
def test_a_stand_in_is_like_the_module(families: Any, name: str) -> None:
    family = families(name)
    plan = LatencyPlan(weight_bits=(3, 8, 16, 32), activation_bits=(4, 8, 32))
    for configuration in drawn(family.structure, plan, 4)[2:]:
        real = family.compressor.materialise(configuration)
        made = stand_in(family.profile, configuration)
        assert types(made.module) == types(real.module)
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in real.module.state_dict().items()}
        assert {n: (t.shape, t.dtype) for n, t in made.module.state_dict().items()} == shapes
        assert made.configuration == configuration
        assert {n: (c.codes.shape, c.scale.shape, c.bits, c.axis) for n, c in made.codes.items()} == {
            n: (c.codes.shape, c.scale.shape, c.bits, c.axis) for n, c in real.codes.items()
        }
        for codes in made.codes.values():
            assert int(codes.codes.min()) >= -(2 ** (codes.bits - 1))
            assert int(codes.codes.max()) < 2 ** (codes.bits - 1)
        outputs = made.module(family.profile.example_input)
        assert outputs.shape == real.module(family.profile.example_input).shape
        assert bool(outputs.isfinite().all())


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_a_run_is_of_the_batch(make_subject: Callable[..., Any], backend: str) -> None:
    profile: Profile = make_subject(Small(), (3, 8, 8)).profile
    runner = BACKENDS[backend].make(profile, LatencyOptions(backend=backend, batch=3))
    outputs: Any = runner.run(stand_in(profile, Configuration()))()
    found = outputs if isinstance(outputs, torch.Tensor) else torch.from_numpy(outputs[0])
    with torch.no_grad():
        expected = profile.model(batch_of(profile.example_input, 3))
    assert found.shape == (3, 4)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


class Small(nn.Module):
    """A residual sum, a depthwise convolution, and a flattening whose size the tracer writes down."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.depthwise(x + self.second(x)))
        return self.linear(x.mean((2, 3), keepdim=True).view(x.shape[0], -1))


LAYOUT = ("Shape", "Concat", "Reshape", "Flatten", "Constant", "Squeeze")
"""Operators that sizes written down decide, and that take no time."""


def optimised(content: bytes, folder: Path) -> Counter[str]:
    """Operators of the graph that ONNX Runtime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    return Counter(node.op_type for node in nodes if node.op_type not in LAYOUT)


def tensors(content: bytes) -> Counter[tuple[Any, ...]]:
    """Shapes and types of what a file holds, scalars and sizes left out."""
    held = onnx.load_from_string(content).graph.initializer
    return Counter((tuple(each.dims), each.data_type) for each in held if len(each.dims) > 1)


def spied(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The modules that are traced from now on."""
    traced: list[nn.Module] = []
    trace = tracing_module.trace

    def spy(module: nn.Module, example_input: torch.Tensor) -> Any:
        traced.append(module)
        return trace(module, example_input)

    monkeypatch.setattr(tracing_module, "trace", spy)
    return traced


def test_a_borrowed_graph_is_that_of_the_module(
    make_subject: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile: Profile = make_subject(Small(), (3, 8, 8)).profile
    assert profile.structure.groups
    traced = spied(monkeypatch)
    tracer = Tracer(profile)
    for configuration in drawn(profile.structure, LatencyPlan(weight_bits=(8,), activation_bits=(8,)), 4):
        compressed = stand_in(profile, configuration)
        content = tracer.file(compressed)
        assert agrees(content, compressed.module, profile.example_input)
    assert configuration.channels
    # Once the dense model; the others borrowed its graph.
    assert len(traced) == 1
    own = onnx_model(compressed, profile.structure, profile.example_input)
    assert optimised(content, tmp_path) == optimised(own, tmp_path)
    assert tensors(content) == tensors(own)


class Folded(nn.Module):
    """Its number of channels stands in the middle of a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        return self.linear(x.reshape(x.shape[0], x.shape[1], 6, 6).mean((2, 3)))


def test_a_graph_that_does_not_fit_is_traced_again(
    make_subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile: Profile = make_subject(Folded(), (3, 8, 8)).profile
    assert set(profile.structure.groups) == {"conv"}
    traced = spied(monkeypatch)
    own = []
    write = tracing_module.onnx_model

    def spy(*arguments: Any, traced: Any = None) -> bytes:
        own.append(traced is None)
        return write(*arguments, traced=traced)

    monkeypatch.setattr(tracing_module, "onnx_model", spy)
    tracer = Tracer(profile)
    compressed = stand_in(profile, Configuration(channels={"conv": 4}))
    assert agrees(tracer.file(compressed), compressed.module, profile.example_input)
    assert len(traced) == 1
    assert own == [False, True]
    assert not agrees(
        tracer.file(stand_in(profile, Configuration())), compressed.module, profile.example_input
    )
