"""Small instances of torchvision's families, and one compressor for each."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import nn
from torchvision.models import densenet, mobilenetv2, mobilenetv3, resnet, shufflenetv2, vision_transformer

from leanfront.core.compressors import Compressor, Configuration, Structure
from leanfront.core.cost_models import Profile
from leanfront.core.targets import Target


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _mobilenet_v2() -> nn.Module:
    blocks = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 2]]
    return mobilenetv2.MobileNetV2(10, 0.5, inverted_residual_setting=blocks)


def _vision_transformer() -> nn.Module:
    return vision_transformer.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10
    )


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], 10),
    "resnext": lambda: resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], 10, groups=8, width_per_group=4),
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3": lambda: mobilenetv3.mobilenet_v3_small(width_mult=0.25, num_classes=10),
    "densenet": lambda: densenet.DenseNet(8, (2, 2), 16, num_classes=10),
    "shufflenet": lambda: shufflenetv2.ShuffleNetV2([2, 2, 2], [24, 48, 48, 64, 96], 10),
    "vit": _vision_transformer,
}


@dataclass(frozen=True)
class Subject:
    """A target with its compressor and profile."""

    target: Target
    compressor: Compressor
    profile: Profile

    @property
    def structure(self) -> Structure:
        return self.compressor.structure


def subject_of(target: Target) -> Subject:
    """Everything that costs are tested with."""
    compressor = Compressor(target, samples=4)
    profile = Profile(target.model, target.example_input, compressor.structure, target.name or "")
    return Subject(target, compressor, profile)


def as_target(model: nn.Module, shape: tuple[int, ...] = (3, 32, 32)) -> Target:
    """A target on a few random inputs."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, *shape, generator=generator)
    labels = torch.arange(12) % 2
    return Target(
        model=model.eval(),
        example_input=inputs[:1],
        calibration=(inputs[:8], labels[:8]),
        validation=(inputs[8:], labels[8:]),
        name="made",
    )


@cache
def _family(name: str) -> Subject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return subject_of(as_target(FAMILIES[name]()))


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Subject:
    """Each of the families in turn."""
    return _family(request.param)


@pytest.fixture(scope="session")
def families() -> Callable[[str], Subject]:
    """Name -> subject."""
    return _family


@pytest.fixture(scope="session")
def make_subject() -> Callable[..., Subject]:
    """(model, input shape) -> subject."""
    return lambda model, shape=(3, 32, 32): subject_of(as_target(model, shape))


@pytest.fixture(scope="session")
def subject_for() -> Callable[[Target], Subject]:
    """Target -> subject."""
    return subject_of


def draw(structure: Structure, seed: int) -> Configuration:
    """A random configuration: most groups cut to any width, one included; bits and sparsity in some layers."""
    choice = random.Random(seed)
    channels = {
        name: choice.choice([1, group.units, choice.randint(1, group.units)])
        for name, group in structure.groups.items()
        if choice.random() < 0.8
    }
    bits = {layer: choice.choice([2, 3, 4, 5, 6, 7, 8, 16, 32]) for layer in structure.layers}
    sparsity = {
        layer: choice.choice([0.1, 0.5, 0.95, "2:4"]) for layer in structure.layers if choice.random() < 0.3
    }
    configuration = Configuration(
        channels=channels, weight_bits=bits, sparsity=sparsity, criterion="random", seed=seed
    )
    return structure.canonical(configuration)


@pytest.fixture(scope="session")
def draw_configuration() -> Callable[[Structure, int], Configuration]:
    """(structure, seed) -> a random configuration."""
    return draw
