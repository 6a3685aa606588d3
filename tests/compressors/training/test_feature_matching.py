"""Blocks of a compressed module beside the dense model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.training.feature_matching import Features
from leanfront.core.targets import Target
from leanfront.core.targets.memory_format import in_format

Make = Callable[..., Target]


class Block(nn.Module):
    """Two convolutions around which the input is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(x + self.norm2(self.conv2(hidden)))


class Blocks(nn.Module):
    """A stem, a sequence of two blocks of which the second is called twice, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stage = nn.Sequential(Block(8), Block(8))
        self.twice = Block(8)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.twice(self.stage(functional.relu(self.stem(x)))))
        output: Tensor = self.linear(x.mean((2, 3)))
        return output


@pytest.fixture(scope="module")
def compressor(make_target: Make) -> Compressor:
    torch.manual_seed(0)
    return Compressor(make_target(Blocks()))


def watched(
    compressor: Compressor, channels: Mapping[str, int]
) -> tuple[Features, nn.Module, nn.Module, Tensor, Any]:
    compressed = compressor.materialise(Configuration(channels=channels, weight_bits={"stem": 8}))
    teacher = compressor.context.dense()
    inputs = in_format(next(compressor.target.validation.batches(16, torch.device("cpu")))[0], True)
    features = Features(compressed.module, teacher, compressor.structure, inputs)
    return features, compressed.module, teacher, inputs, compressed


def passed(features: Features, *modules: nn.Module, inputs: Tensor) -> float:
    features.forget()
    with torch.no_grad():
        for module in modules:
            module(inputs)
    loss = features.loss()
    assert loss is not None
    return float(loss)


def test_blocks_are_watched_once_each(compressor: Compressor) -> None:
    """The sequence gives what its last block gives; a block that is called twice gives no one thing."""
    features, module, teacher, inputs, _ = watched(compressor, {"stage.0.conv1": 4})
    assert sorted(pair.name for pair in features.pairs) == ["stage.0", "stage.1"]
    assert all(pair.kept is None for pair in features.pairs)
    assert 0 < passed(features, module, teacher, inputs=inputs) < 1


def test_the_error_is_a_share_of_the_variance(compressor: Compressor) -> None:
    features, module, teacher, inputs, _ = watched(compressor, {"stage.0.conv1": 4})
    seen: dict[tuple[str, bool], Tensor] = {}
    for mine, each in ((True, module), (False, teacher)):
        for name in ("stage.0", "stage.1"):
            each.get_submodule(name).register_forward_hook(
                lambda m, x, y, key=(name, mine): seen.__setitem__(key, y)
            )
    found = passed(features, module, teacher, inputs=inputs)
    errors = [
        (seen[name, True] - seen[name, False]).square().mean() / seen[name, False].var()
        for name in ("stage.0", "stage.1")
    ]
    assert found == pytest.approx(float(sum(errors)) / 2, rel=1e-5)


def test_cut_blocks_are_compared_by_what_was_kept(compressor: Compressor) -> None:
    """Which channels these are is seen from what they give."""
    stream = next(g.name for g in compressor.structure.groups.values() if "stem" in g.producers)
    channels = {stream: 5, "stage.0.conv1": 5, "stage.1.conv1": 5}
    features, module, teacher, inputs, compressed = watched(compressor, channels)
    assert {pair.name for pair in features.pairs} == {"stage.0", "stage.1"}
    for pair in features.pairs:
        assert pair.axis == 1
        assert pair.kept is not None
        assert tuple(pair.kept.tolist()) == compressed.kept[stream]
    assert passed(features, module, teacher, inputs=inputs) < 1


def test_gradients_reach_the_learner_alone(compressor: Compressor) -> None:
    features, module, teacher, inputs, _ = watched(compressor, {"stage.0.conv1": 4})
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    features.forget()
    with torch.no_grad():
        teacher(inputs)
    module(inputs)
    loss = features.loss()
    assert loss is not None
    torch.autograd.backward(loss)
    reached = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert "stem.weight" in reached
    assert "linear.weight" not in reached


def test_a_model_without_blocks_has_nothing_to_match(nets: Mapping[str, Any], make_target: Make) -> None:
    compressor = Compressor(make_target(nets["chain"].build()))
    compressed = compressor.materialise(Configuration(weight_bits={"conv1": 4}))
    inputs = next(compressor.target.validation.batches(16, torch.device("cpu")))[0]
    features = Features(compressed.module, compressor.context.dense(), compressor.structure, inputs)
    assert features.loss() is None


def test_hooks_are_taken_off(compressor: Compressor) -> None:
    features, module, teacher, *_ = watched(compressor, {"stage.0.conv1": 4})
    features.close()
    assert not any(each._forward_hooks for model in (module, teacher) for each in model.modules())
