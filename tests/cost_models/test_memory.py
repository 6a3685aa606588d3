from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.artifact.layout import layout
from leanfront.core.cost_models.allocations import peak, watch
from leanfront.core.cost_models.memory import (
    activation_memory_bytes,
    file_bytes,
    memory_bytes,
)


class Widths(nn.Module):
    """Two convolutions whose outputs dominate in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1)
        self.linear = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        return self.linear(x.mean((2, 3)))


@pytest.fixture(scope="module")
def subject(make_subject: Any) -> Any:
    return make_subject(Widths(), (3, 8, 8))


def peak_by_hand(first: int, second: int) -> int:
    """Bytes: the input throughout; at each step what is read and what is made."""
    plane = 4 * 64
    steps = [
        2 * first * plane,  # relu: what the convolution made, and its own
        (first + 2 * second) * plane,  # the same again while `x` still holds the first
        second * plane + 4 * second + 4 * 4,  # linear, over the pooled features, with `x` alive
    ]
    return 3 * plane + max(steps)


@pytest.mark.parametrize(("first", "second"), [(8, 12), (8, 1), (1, 12), (5, 5), (1, 1)])
def test_activation_memory_by_hand(subject: Any, first: int, second: int) -> None:
    cost = activation_memory_bytes(subject.profile)
    configuration = subject.structure.canonical(Configuration(channels={"conv1": first, "conv2": second}))
    assert cost(configuration) == peak_by_hand(first, second)
    module = subject.compressor.materialise(configuration).module
    example = subject.target.example_input
    watched = peak(watch(module, example)) + example.numel() * example.element_size()
    assert watched == peak_by_hand(first, second)


def test_the_widest_activation_decides(subject: Any) -> None:
    cost = activation_memory_bytes(subject.profile)
    dense = peak_by_hand(8, 12)
    layers = subject.structure.layers
    assert cost(Configuration(activation_bits=dict.fromkeys(layers, 4))) == dense / 8
    assert cost(Configuration(activation_bits={"conv1": 4, "conv2": 4, "linear": 6})) == dense * 6 / 32
    assert cost(Configuration(activation_bits={"conv1": 4, "conv2": 4})) == dense


def test_files_are_the_layouts(subject: Any) -> None:
    for configuration in (Configuration(), Configuration(channels={"conv1": 3}, weight_bits={"linear": 3})):
        placed = layout(subject.structure, configuration, "made")
        assert memory_bytes(subject.profile)(configuration) == placed.memory_bytes
        assert file_bytes(subject.profile)(configuration) == placed.file_bytes
    assert memory_bytes(subject.profile)(Configuration()) == 4 * (216 + 8 + 864 + 12 + 48 + 4)
