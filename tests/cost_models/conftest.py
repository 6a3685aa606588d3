"""Small instances of torchvision's families, and one compressor for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import nn
from torchvision.models import densenet, mobilenetv2, mobilenetv3, resnet, shufflenetv2, vision_transformer

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.targets import Target
from leanfront.testing.cost_models import Subject, draw, subject_of


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


@pytest.fixture(scope="session")
def draw_configuration() -> Callable[[Structure, int], Configuration]:
    """(structure, seed) -> a random configuration."""
    return draw
