"""Refitting on the compressed model's own inputs: what it promises, on networks that make it hard."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import BankCache, Compressed, Compressor, Configuration
from leanfront.core.compressors.configuration import METHODS
from leanfront.core.compressors.statistics import moments
from leanfront.core.compressors.structure.structure import nonzeros
from leanfront.core.targets import Target


class Block(nn.Module):
    """Two normed convolutions and what they are added to; `out` shows the sum."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )
        self.relu = nn.ReLU(inplace=True)
        self.out = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        # As in torchvision: the second operand is computed after the first.
        if self.downsample is not None:
            shortcut = self.downsample(x)
        y += shortcut
        return self.relu(self.out(y))


class ResNet(nn.Module):
    """A stem and two blocks, the second of which widens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.block1 = Block(8, 8)
        self.block2 = Block(8, 12)
        self.linear = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(functional.relu(self.norm(self.stem(x)))))
        return self.linear(x.mean((2, 3)))


class PreActivation(nn.Module):
    """Norms before convolutions; the stem is wider than the block that is added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, padding=2, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.conv2(functional.relu(self.norm2(self.conv1(functional.relu(self.norm1(x))))))
        return self.linear(functional.relu(self.norm3(x)).mean((2, 3)))


class ActivatedBefore(nn.Module):
    """What is added was activated in place: it is no layer's output any more."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        return self.linear((self.relu(self.norm(self.conv(x))) + x).mean((2, 3)))


class AddedInPlace(nn.Module):
    """A sum whose result nobody takes: the operand itself goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        y = self.conv(x)
        y.add_(x)
        return self.linear(functional.relu(y).mean((2, 3)))


class Reused(nn.Module):
    """A layer and its norm called twice, once before anything changed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.middle = nn.Conv2d(3, 3, 3, padding=1)
        self.linear = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.conv(x)))
        x = functional.relu(self.middle(x))
        return self.linear(functional.relu(self.norm(self.conv(x))).mean((2, 3)))


class SharedNorm(nn.Module):
    """One norm behind two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.second = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.first(x)))
        x = functional.relu(self.norm(self.second(x)))
        return self.linear(x.mean((2, 3)))


class SampleStatistics(nn.Module):
    """A norm in a sum that has no statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(8, affine=True)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        return self.linear((x + self.norm(self.conv(x))).mean((2, 3)))


class Upwards(nn.Module):
    """A transposed convolution, which is rounded plainly, before everything else."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 8, 2, 2)
        self.norm = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(functional.relu(self.conv(functional.relu(self.norm(self.up(x))))).mean((2, 3)))


class Wide(nn.Module):
    """A linear layer of 640 inputs, more than one block holds where blocks have a quarter of their width."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 3, padding=1)
        self.linear = nn.Linear(640, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(functional.relu(self.conv(x)).flatten(1))


class Linears(nn.Module):
    """No convolution at all."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(192, 32)
        self.second = nn.Linear(32, 16)
        self.linear = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(functional.relu(self.second(functional.relu(self.first(x.flatten(1))))))


OWN: dict[str, Callable[[], nn.Module]] = {
    "resnet": ResNet,
    "pre-activation": PreActivation,
    "activated before": ActivatedBefore,
    "added in place": AddedInPlace,
    "reused": Reused,
    "shared norm": SharedNorm,
    "statistics of a sample": SampleStatistics,
    "upwards": Upwards,
    "linears": Linears,
}

Make = Callable[[Callable[[], nn.Module]], Compressor]


@pytest.fixture
def make(make_target: Any) -> Make:
    """A compressor of a network whose norms know its inputs."""

    def build(kind: Callable[[], nn.Module]) -> Compressor:
        torch.manual_seed(1)
        model = kind().train()
        with torch.no_grad():
            for _ in range(20):
                model(torch.randn(64, 3, 8, 8))
        return Compressor(make_target(model.eval(), 128))

    return build


def harsh(compressor: Compressor, method: str, bits: int | None = 3, **fields: Any) -> Configuration:
    """Three quarters of every group, few bits everywhere."""
    structure = compressor.structure
    return Configuration(
        channels={name: max(1, group.units * 3 // 4) for name, group in structure.groups.items()},
        weight_bits={} if bits is None else dict.fromkeys(structure.layers, bits),
        criterion="reconstruction",
        method=method,
        **fields,
    )


def inputs_of(compressor: Compressor) -> Tensor:
    return compressor.context.sequential.inputs


def outputs(module: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return module(inputs)


def error(compressor: Compressor, configuration: Configuration) -> float:
    """Mean squared difference to the dense logits, in their variance."""
    inputs = inputs_of(compressor)
    dense = outputs(compressor.target.model, inputs)
    found = outputs(compressor.materialise(configuration).module, inputs)
    return float((found - dense).square().mean() / dense.var(0).mean())


def layer_inputs(module: nn.Module, name: str, inputs: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = module.get_submodule(name).register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
    outputs(module, inputs)
    handle.remove()
    return seen[0]


def test_each_method_is_better_than_the_one_before(make: Make) -> None:
    compressor = make(ResNet)
    rounding, bank, sequential = (error(compressor, harsh(compressor, method)) for method in METHODS)
    assert rounding > 2 * bank
    assert bank > 2 * sequential
    assert sequential < 0.3


@pytest.mark.parametrize("name", OWN)
def test_refitting_is_better_than_rounding(make: Make, name: str) -> None:
    compressor = make(OWN[name])
    assert error(compressor, harsh(compressor, "sequential")) < 0.9 * error(
        compressor, harsh(compressor, "rounding")
    )


def mean_error(compressor: Compressor, configuration: Configuration) -> float:
    inputs = inputs_of(compressor)
    dense = outputs(compressor.target.model, inputs)
    found = outputs(compressor.materialise(configuration).module, inputs)
    return float((found - dense).mean(0).abs().max() / dense.std())


@pytest.mark.parametrize("name", OWN)
def test_the_last_bias_makes_the_mean_right(make: Make, name: str) -> None:
    """So it does only if the pass went through the very model that comes out of it."""
    compressor = make(OWN[name])
    assert mean_error(compressor, harsh(compressor, "sequential")) < 1e-4
    # What is not measured reads float inputs in the pass; biases are rounded behind it, by half a step at most.
    bits = dict.fromkeys(compressor.context.sequential.layers, 6)
    assert mean_error(compressor, harsh(compressor, "sequential", activation_bits=bits)) < 0.01
    assert mean_error(compressor, harsh(compressor, "rounding")) > 1e-3


def test_the_mean_is_right_on_all_small_networks(net: Any, make_target: Any) -> None:
    compressor = Compressor(make_target(net.build(), 64))
    for fields in ({}, {"sparsity": dict.fromkeys(compressor.structure.layers, 0.5)}):
        assert mean_error(compressor, harsh(compressor, "sequential", **fields)) < 1e-3


@pytest.mark.parametrize("method", ["bank", "sequential"])
def test_integers_and_masks_are_the_modules_own(net: Any, make_target: Any, method: str) -> None:
    compressor = Compressor(make_target(net.build(), 24))
    for bits, sparsity in itertools.product((None, 4, 16), (0.5, "2:4")):
        sparse = dict.fromkeys(compressor.structure.layers, sparsity)
        cut = harsh(compressor, method, bits, sparsity=sparse)
        for configuration in (cut, cut.change(channels={})):
            check(compressor, compressor.materialise(configuration))


def check(compressor: Compressor, compressed: Compressed) -> None:
    """The layout's counts, and integers times scales, bit by bit."""
    structure, configuration = compressor.structure, compressed.configuration
    shapes = structure.shapes(configuration)
    modules = dict(compressed.module.named_modules())
    assert set(compressed.masks) == set(configuration.sparsity)
    for layer, mask in compressed.masks.items():
        weight = modules[layer].weight
        assert mask.shape == weight.shape
        assert int(mask.sum()) == nonzeros(
            structure.parts[layer], shapes[layer], configuration.sparsity[layer]
        )
        assert not weight[~mask].any()
    assert set(compressed.codes) == {k for k, bits in configuration.weight_bits.items() if bits <= 8}
    for layer, quantised in compressed.codes.items():
        assert torch.equal(quantised.dequantise(), modules[layer].weight)
        assert quantised.scale.shape == (shapes[layer].outputs,)
        assert torch.equal(quantised.scale, quantised.scale.half().float())
        assert int(quantised.codes.min()) >= -(2 ** (quantised.bits - 1))
        assert int(quantised.codes.max()) < 2 ** (quantised.bits - 1)
    for layer, bits in configuration.weight_bits.items():
        if bits == 16:
            assert torch.equal(modules[layer].weight, modules[layer].weight.half().float())


@pytest.mark.parametrize("method", METHODS)
def test_layers_wider_than_a_block(make: Make, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "WIDEST", moments.WIDEST // 4)
    compressor = make(Wide)
    assert compressor.context.bank.moments["linear"].blocks.runs == (320, 320)
    for kept, sparsity in itertools.product((1, 3, 7, 9, 10), (None, 0.5, "2:4")):
        compressed = compressor.materialise(
            Configuration(
                channels={"conv": kept},
                weight_bits={"linear": 4},
                sparsity={} if sparsity is None else {"linear": sparsity},
                criterion="l1",
                method=method,
            )
        )
        check(compressor, compressed)
        if sparsity == "2:4":
            quads = compressed.masks["linear"].reshape(4, -1, 4).sum(2)
            assert bool((quads == 2).all())
        assert bool(outputs(compressed.module, inputs_of(compressor)).isfinite().all())


def test_weights_that_nothing_touches_stay(make: Make) -> None:
    compressor = make(ResNet)
    state = compressor.target.model.state_dict()
    compressed = compressor.materialise(Configuration(weight_bits={"linear": 3}, method="sequential"))
    found = compressed.module.state_dict()
    changed = {key for key, value in state.items() if not torch.equal(found[key], value)}
    assert changed == {"linear.weight", "linear.bias"}
    assert set(compressed.codes) == {"linear"}


def test_layers_behind_a_change_make_up_for_it(make: Make) -> None:
    compressor = make(ResNet)
    configuration = Configuration(weight_bits={"block1.conv1": 2}, method="sequential")
    compressed = compressor.materialise(configuration)
    found, state = compressed.module.state_dict(), compressor.target.model.state_dict()
    assert torch.equal(found["stem.weight"], state["stem.weight"])
    assert not torch.equal(found["block1.conv2.weight"], state["block1.conv2.weight"])
    assert error(compressor, configuration) < 0.7 * error(compressor, configuration.change(method="bank"))


def test_equal_configurations_give_equal_modules(make: Make, tmp_path: Path) -> None:
    compressor = make(ResNet)
    first = compressor.materialise(harsh(compressor, "sequential")).module.state_dict()
    other = Compressor(compressor.target, cache=BankCache(tmp_path))
    for found in (compressor, other):
        again = found.materialise(harsh(found, "sequential")).module.state_dict()
        assert all(torch.equal(again[key], value) for key, value in first.items())


def test_norms_keep_their_variance_and_move_their_mean(make: Make) -> None:
    compressor = make(ResNet)
    module = compressor.materialise(Configuration(weight_bits={"stem": 2}, method="sequential")).module
    dense: Any = compressor.target.model
    found: Any = module
    assert torch.equal(found.norm.running_var, dense.norm.running_var)
    inputs = inputs_of(compressor)
    moved = outputs(found.stem, inputs).mean((0, 2, 3)) - outputs(dense.stem, inputs).mean((0, 2, 3))
    torch.testing.assert_close(found.norm.running_mean - dense.norm.running_mean, moved, rtol=1e-3, atol=1e-5)


def test_norms_that_no_measured_layer_feeds_follow_their_input(make: Make) -> None:
    compressor = make(Upwards)
    assert "up" not in compressor.context.sequential.layers
    module: Any = compressor.materialise(Configuration(weight_bits={"up": 2}, method="sequential")).module
    dense: Any = compressor.target.model
    inputs = inputs_of(compressor)
    before, after = outputs(dense.up, inputs), outputs(module.up, inputs)
    change = after.mean((0, 2, 3)) - before.mean((0, 2, 3))
    assert float(change.abs().max()) > 1e-4
    torch.testing.assert_close(module.norm.running_mean, dense.norm.running_mean + change)
    share = after.var((0, 2, 3)) / before.var((0, 2, 3))
    torch.testing.assert_close(module.norm.running_var, dense.norm.running_var * share)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # The wider of two layers; in the first block the other operand is no layer's.
        (ResNet, {0: ("block1.conv2", 0), 1: ("block2.conv2", 0)}),
        # The stem is wider, but the block adds to what it made of the stem's output.
        (PreActivation, {0: ("conv2", 1)}),
        (ActivatedBefore, {}),
        (AddedInPlace, {0: ("conv", 0)}),
        (SampleStatistics, {}),
    ],
)
def test_who_makes_up_for_the_other_operand(
    make: Make, kind: Callable[[], nn.Module], expected: dict[int, tuple[str, int]]
) -> None:
    assert make(kind).context.sequential.recording.sums == expected


def test_sums_are_right_in_the_mean(make: Make) -> None:
    """Whatever the shortcut lacks, though it is computed after the layer that makes up for it."""
    compressor = make(ResNet)
    inputs = inputs_of(compressor)
    dense = layer_inputs(compressor.target.model, "block2.out", inputs)
    means = {}
    for method in ("bank", "sequential"):
        module = compressor.materialise(harsh(compressor, method)).module
        kept = compressor.kept(harsh(compressor, method))
        group = next(
            g
            for g in compressor.structure.groups.values()
            if any(m.part == "block2.conv2" and m.side == "out" for m in g.members)
        )
        wanted = dense[:, list(kept[group.name])]
        found = layer_inputs(module, "block2.out", inputs)
        means[method] = float((found - wanted).mean((0, 2, 3)).abs().max())
    assert means["sequential"] < 1e-3 < means["bank"]


def test_a_reused_layer_is_made_for_its_first_call(make: Make) -> None:
    compressor = make(Reused)
    configuration = Configuration(weight_bits={"middle": 2}, method="sequential")
    module = compressor.materialise(configuration).module.state_dict()
    state = compressor.target.model.state_dict()
    # Nothing has changed when it is first called.
    assert torch.equal(module["conv.weight"], state["conv.weight"])
    assert torch.equal(module["norm.running_mean"], state["norm.running_mean"])


@pytest.mark.parametrize("method", METHODS)
def test_callers_may_be_in_inference_mode(make: Make, method: str) -> None:
    compressor = make(ResNet)
    expected = compressor.materialise(harsh(compressor, method)).module.state_dict()
    with torch.inference_mode():
        other = Compressor(compressor.target)
        found = other.materialise(harsh(other, method)).module.state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_nothing_is_left_on_the_module(make: Make) -> None:
    compressor = make(ResNet)
    module = compressor.materialise(harsh(compressor, "sequential")).module
    for child in (*module.modules(), *compressor.target.model.modules()):
        assert not child._forward_hooks
        assert not child._forward_pre_hooks
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_digits_at_three_bits(digits: Target) -> None:
    compressor = Compressor(digits)
    inputs, labels = digits.validation.tensors()

    def accuracy(module: nn.Module) -> float:
        return float((outputs(module, inputs).argmax(1) == labels).float().mean())

    found = {m: accuracy(compressor.materialise(harsh(compressor, m)).module) for m in METHODS}
    dense = accuracy(digits.model)
    assert found["sequential"] >= dense - 0.03
    assert found["sequential"] > found["rounding"]
