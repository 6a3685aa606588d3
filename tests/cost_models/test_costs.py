"""Our costs pass the suite of cost models, and of all families of models they are what the compressed model says."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import nn

from leanfront.core.compressors import Compressed, Configuration
from leanfront.core.compressors.artifact.packed_file import read, write
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.cost_models import COST_MODELS, CostModel, Costs, Profile, analyse, count_macs
from leanfront.core.cost_models.allocations import peak, watch
from leanfront.core.targets import Target, resolve
from leanfront.errors import EvaluationError, UsageError
from leanfront.testing import CostModelConformance
from leanfront.testing.cost_models import Subject, built, subject_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis

NORMS = nn.modules.batchnorm._BatchNorm


def held_bytes(compressed: Compressed) -> int:
    """Bytes of a module's tensors: integers, masks and scales in place of the weights that have them."""
    total = 0
    for name, module in compressed.module.named_modules():
        if isinstance(module, NORMS):
            total += 8 * module.num_features
            continue
        for key, parameter in module.named_parameters(recurse=False):
            if key != "weight" or name not in {*compressed.codes, *compressed.masks, *_halves(compressed)}:
                total += 4 * parameter.numel()
                continue
            stored = parameter.numel()
            if name in compressed.masks:
                stored = int(compressed.masks[name].sum())
                if compressed.configuration.sparsity[name] == "2:4":
                    total += math.ceil(
                        (parameter.numel() // parameter.shape[1]) * (parameter.shape[1] // 4) / 2
                    )
                else:
                    index = math.ceil(stored * max(1, math.ceil(math.log2(parameter.numel()))) / 8)
                    total += min(index, math.ceil(parameter.numel() / 8))
            if name in compressed.codes:
                total += math.ceil(stored * compressed.codes[name].bits / 8) + 2 * parameter.shape[0]
            else:
                total += stored * (2 if name in _halves(compressed) else 4)
    return total


def _halves(compressed: Compressed) -> set[str]:
    return {name for name, bits in compressed.configuration.weight_bits.items() if bits == 16}


def watched_bytes(subject: Any, module: nn.Module) -> float:
    """Peak of the activations that are alive while the module itself runs, input included."""
    example = subject.target.example_input
    return peak(watch(module, example)) + example.numel() * example.element_size()


@lru_cache(maxsize=8)
def analysed(module: nn.Module, target: Target) -> Any:
    """fvcore's analysis of a compressed model; it takes longer than all else here."""
    return analyse(module, target.example_input)


class OurCost(CostModelConformance):
    """A registered cost."""

    name: str

    @pytest.fixture
    def cost_model(self) -> CostModel:
        return COST_MODELS[self.name]


class TestMacs(OurCost):
    name = "macs"

    def measured(self, compressed: Compressed, subject: Subject) -> float:
        return int(analysed(compressed.module, subject.target).total())


def layer_macs(compressed: Compressed, subject: Subject) -> dict[str, int]:
    """fvcore's counts of the layers of a compressed model."""
    counts = analysed(compressed.module, subject.target).by_module()
    parts = subject.structure.parts
    return {name: int(counts[name]) for name, part in parts.items() if part.is_layer}


class TestBitOperations(OurCost):
    name = "bops"
    falls_with = ("channels", "weight_bits", "activation_bits")

    def measured(self, compressed: Compressed, subject: Subject) -> float:
        bits = compressed.configuration.weight_bits
        return sum(macs * bits.get(name, 32) * 32 for name, macs in layer_macs(compressed, subject).items())


class TestSparseMacs(OurCost):
    name = "sparse_macs"
    falls_with = ("channels", "sparsity")

    def measured(self, compressed: Compressed, subject: Subject) -> float:
        layers = layer_macs(compressed, subject)
        skipped = sum(
            layers[name] * (1 - float(mask.double().mean())) for name, mask in compressed.masks.items()
        )
        return round(analysed(compressed.module, subject.target).total() - skipped)


class TestMemory(OurCost):
    name = "memory_bytes"
    falls_with = ("channels", "weight_bits")

    def measured(self, compressed: Compressed, subject: Subject) -> float:
        packed = read(write(compressed, subject.structure, subject.target.name or ""))
        assert packed.memory_bytes == held_bytes(compressed)
        return packed.memory_bytes


class TestFileSize(OurCost):
    name = "file_bytes"
    # A configuration that differs from the dense model in little has a header that grows by more than it saves.
    falls_with = ()

    def measured(self, compressed: Compressed, subject: Subject) -> float:
        return len(write(compressed, subject.structure, subject.target.name or ""))


class TestActivationMemory(OurCost):
    name = "activation_memory_bytes"
    falls_with = ("channels", "activation_bits")

    def measured(self, compressed: Compressed, subject: Subject) -> float:
        return watched_bytes(subject, compressed.module)


SUITES = (TestMacs, TestBitOperations, TestSparseMacs, TestMemory, TestFileSize, TestActivationMemory)


def require_agreement(subject: Subject) -> None:
    """Every cost is what the compressed models say, as its suite has it for a small network."""
    assert Costs(subject.profile).unavailable == {}
    for suite in SUITES:
        cost = built(COST_MODELS[suite.name], subject)
        suite().test_it_agrees_with_the_compressed_model(cost, subject)


def test_families(family: Subject) -> None:
    require_agreement(family)


def test_digits(digits: Target) -> None:
    require_agreement(subject_of(digits))


@pytest.fixture(scope="module")
def resnet20(shared_data: Any, subject_for: Any) -> Any:
    return subject_for(
        resolve(
            f"cifar10-resnet20?data={shared_data}/cifar10_jpeg.zip"
            f"&weights={shared_data}/resnet20_cifar10_jpeg.safetensors"
        )
    )


def test_resnet20(resnet20: Any, draw_configuration: Any) -> None:
    costs = Costs(resnet20.profile)
    dense = costs.of(Configuration())
    assert dense["macs"] == 40_927_872
    assert dense["memory_bytes"] == 1_078_888
    assert dense["bops"] == (40_550_400 + 640) * 32 * 32
    for seed in range(6):
        compressed_by = draw_configuration(resnet20.structure, seed)
        # Padding shortcuts keep an index of their own.
        shapes = resnet20.structure.shapes(compressed_by)
        extra = sum(
            2 * shape.outputs
            for name, shape in shapes.items()
            if (part := resnet20.structure.parts[name]).kind == "shortcut"
            and (shape.inputs, shape.outputs) != (part.inputs, part.outputs)
        )
        compressed = resnet20.compressor.materialise(compressed_by)
        found = costs.of(compressed_by)
        assert found["macs"] == count_macs(compressed.module, resnet20.target.example_input)
        assert found["memory_bytes"] == held_bytes(compressed) + extra
        assert found["activation_memory_bytes"] == watched_bytes(resnet20, compressed.module)


def test_plain_fvcore_agrees_where_it_needs_no_help(families: Any, draw_configuration: Any) -> None:
    """The count with nothing of ours around it."""
    subject = families("resnet18")
    costs = Costs(subject.profile)
    for seed in (7, 8):
        configuration = draw_configuration(subject.structure, seed)
        module = subject.compressor.materialise(configuration).module
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            analysis = FlopCountAnalysis(module, subject.target.example_input)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            assert costs.of(configuration)["macs"] == analysis.total()


def test_costs_do_not_depend_on_activation_quantisers(families: Any) -> None:
    subject = families("mobilenet_v2")
    costs = Costs(subject.profile)
    configuration = Configuration(activation_bits=dict.fromkeys(subject.structure.layers, 8))
    module = subject.compressor.materialise(configuration).module
    found, dense = costs.of(configuration), costs.of(Configuration())
    assert found["macs"] == dense["macs"] == count_macs(module, subject.target.example_input)
    assert found["memory_bytes"] == dense["memory_bytes"] + 5 * len(subject.structure.layers)
    assert found["activation_memory_bytes"] == round(dense["activation_memory_bytes"] / 4)


class Switch(nn.Module):
    """Takes another way when it is narrow, to the same end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.conv2 = nn.Conv2d(8, 8, 3)
        self.linear = nn.Linear(8, 4)
        self.register_buffer("identity", torch.eye(30))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv1(x))
        if x.shape[1] < 8:
            x = x @ self.identity
        return self.linear(torch.relu(self.conv2(x)).mean((2, 3)))


def test_control_flow_on_channels_makes_costs_unavailable(make_subject: Any) -> None:
    subject = make_subject(Switch())
    assert set(subject.structure.groups) == {"conv1", "conv2"}
    costs = Costs(subject.profile)
    assert set(costs.unavailable) == {"macs", "bops", "sparse_macs", "activation_memory_bytes"}
    assert "operations do not scale with its channel counts" in costs.unavailable["macs"]
    assert "cutting group 'conv1' changes which tensors" in costs.unavailable["activation_memory_bytes"]
    assert set(costs.of(Configuration())) == {"memory_bytes", "file_bytes"}
    Costs(subject.profile, ["memory_bytes"])
    with pytest.raises(EvaluationError, match="MACs by fvcore, not the"):
        Costs(subject.profile, ["macs"])


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise NotImplementedError("no tracing here")
        return self.linear(x)


def test_a_model_that_cannot_be_traced(make_subject: Any) -> None:
    subject = make_subject(Untraceable(), (4,))
    costs = Costs(subject.profile)
    assert "cannot be traced" in costs.unavailable["macs"]
    assert "no tracing here" in costs.unavailable["macs"]
    assert costs.of(Configuration())["memory_bytes"] == 4 * 15


def test_unknown_costs_are_refused(families: Any) -> None:
    with pytest.raises(UsageError, match=r"unknown cost: joules; known: macs, bops"):
        Costs(families("vit").profile, ["joules"])


def test_the_registry_holds_these() -> None:
    assert {name: model.alias for name, model in COST_MODELS.items()} == {
        "macs": "macs",
        "bops": "bops",
        "sparse_macs": "sparse_macs",
        "memory_bytes": "memory",
        "file_bytes": "file_size",
        "activation_memory_bytes": "activation_memory",
        "latency_ms": "latency",
    }
    assert all(model.unit and model.source for model in COST_MODELS.values())


def test_the_model_is_left_alone(families: Any) -> None:
    subject = families("densenet")
    fingerprint = subject.target.fingerprint
    fresh = Profile(
        subject.target.model,
        subject.target.example_input,
        derive(subject.target.model, subject.target.example_input),
    )
    Costs(fresh)
    assert subject.target.fingerprint == fingerprint
    modules = list(subject.target.model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m.training for m in modules)
