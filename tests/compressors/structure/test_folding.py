"""Folded norms: equal outputs, and no folding where there would be others."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.structure.folding import fold, folds

PROBE = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def norms_in(module: nn.Module) -> list[str]:
    return [
        name for name, child in module.named_modules() if isinstance(child, nn.modules.batchnorm._BatchNorm)
    ]


def folded(module: nn.Module, norms: dict[str, str]) -> nn.Module:
    copied = copy.deepcopy(module)
    fold(copied, norms)
    return copied


@pytest.mark.parametrize("name", ["chain", "depthwise", "zero-gamma", "volume"])
def test_outputs_stay(nets: Any, make_target: Any, name: str) -> None:
    target = make_target(nets[name].build())
    compressor = Compressor(target)
    foldable = compressor.context.foldable
    assert set(foldable.values()) == set(norms_in(target.model))
    structure = compressor.structure
    for configuration in (
        Configuration(),
        Configuration(
            channels={name: max(1, g.units // 2) for name, g in structure.groups.items()},
            weight_bits=dict.fromkeys(structure.layers, 4),
        ),
    ):
        module = compressor.materialise(configuration).module
        small = folded(module, foldable)
        assert norms_in(small) == []
        with torch.no_grad():
            torch.testing.assert_close(small(PROBE), module(PROBE), rtol=1e-4, atol=1e-5)


def test_a_norm_without_scale_folds_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5, affine=False)).train()
    with torch.no_grad():
        model(5 + 2 * PROBE)
        model.eval()
        torch.testing.assert_close(folded(model, {"0": "1"})(PROBE), model(PROBE), rtol=1e-4, atol=1e-5)


class ReadTwice(nn.Module):
    """The layer's output is read beside its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.linear((x + functional.relu(self.norm(x))).mean((2, 3)))


class SharedNorm(nn.Module):
    """Two layers, one norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.first(x)))
        x = functional.relu(self.norm(self.second(x)))
        return self.linear(x.mean((2, 3)))


class ChangedBetween(nn.Module):
    """The norm reads what an activation made of the layer's output, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.activation = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.activation(self.conv(x))).mean((2, 3)))


class SampleStatistics(nn.Module):
    """A norm that has no statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.InstanceNorm2d(6, affine=True)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(functional.relu(self.norm(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize("kind", [ReadTwice, SharedNorm, ChangedBetween, SampleStatistics])
def test_what_cannot_be_folded_is_left(make_target: Any, kind: type[nn.Module]) -> None:
    model = kind()
    with torch.no_grad():
        model.train()(3 * PROBE + 1)
    compressor = Compressor(make_target(model.eval()))
    assert compressor.context.foldable == {}


def test_a_second_reader_is_noticed() -> None:
    model = ReadTwice()
    with torch.no_grad():
        model.train()(3 * PROBE + 1)
    model.eval()
    assert not folds(copy.deepcopy(model), {"conv": "norm"}, PROBE)
    assert folds(copy.deepcopy(model), {}, PROBE)


def test_a_norm_behind_an_activation_is_not_the_layers(make_target: Any) -> None:
    assert Compressor(make_target(ChangedBetween().eval())).context.saliency.norms == {}
