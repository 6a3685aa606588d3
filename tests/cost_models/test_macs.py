from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from leanfront.core.compressors import Configuration
from leanfront.core.cost_models.macs import MacModel, bops, sparse_macs


@pytest.fixture(scope="module")
def subject(make_subject: Any) -> Any:
    """conv 3 -> 8 (6 x 6 outputs), norm, conv 8 -> 4 in 2 groups (4 x 4 outputs), linear 64 -> 5."""
    return make_subject(
        nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 4, 3, groups=2),
            nn.Flatten(),
            nn.Linear(64, 5),
        ),
        (3, 8, 8),
    )


FIRST, SECOND, LAST = 36 * 8 * 27, 16 * 4 * 4 * 9, 64 * 5


def test_macs_by_hand(subject: Any) -> None:
    model = MacModel(subject.profile)
    assert model.layers == {"0": FIRST, "3": SECOND, "5": LAST}
    assert model.channelwise == {"1": 2 * 8 * 36}
    assert model(Configuration()) == model.dense == FIRST + SECOND + LAST + 576
    # Units of the grouped convolution's input are pairs: two kept units are four channels.
    assert subject.structure.groups["0"].units == 4
    assert model(Configuration(channels={"0": 2})) == FIRST / 2 + SECOND / 2 + LAST + 288
    assert model(Configuration(channels={"0": 2, "3": 1})) == FIRST / 2 + SECOND / 4 + LAST / 2 + 288


def test_bit_operations_by_hand(subject: Any) -> None:
    cost = bops(subject.profile)
    assert cost(Configuration()) == (FIRST + SECOND + LAST) * 1024
    configuration = Configuration(
        channels={"0": 2}, weight_bits={"0": 4, "5": 16}, activation_bits={"0": 8, "3": 6}
    )
    assert cost(configuration) == FIRST / 2 * 4 * 8 + SECOND / 2 * 32 * 6 + LAST * 16 * 32


def test_sparse_macs_by_hand(subject: Any) -> None:
    cost = sparse_macs(subject.profile)
    dense = FIRST + SECOND + LAST + 576
    assert cost(Configuration()) == dense
    assert cost(Configuration(sparsity={"5": 0.75})) == dense - LAST * 0.75
    assert cost(Configuration(sparsity={"3": "2:4"})) == dense - SECOND / 2
    # After the cut each group of the second convolution has two inputs: no group of four is left.
    assert (
        cost(Configuration(sparsity={"3": "2:4"}, channels={"0": 2})) == FIRST / 2 + SECOND / 2 + LAST + 288
    )


class Pools(nn.Module):
    """Operators that count outside layers: in a leaf module, and called by a container."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv2(self.pool(torch.relu(self.conv1(x)))))
        return self.linear(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def test_other_operators_follow_the_groups_that_reach_them(make_subject: Any) -> None:
    subject = make_subject(Pools(), (3, 8, 8))
    model = MacModel(subject.profile)
    assert subject.profile.other_operations == {
        ("pool", "adaptive_avg_pool2d"): 8 * 64,
        ("", "adaptive_avg_pool2d"): 6 * 16,
    }
    assert model.fixed == 8 * 64 + 6 * 16
    assert model.slopes == {"conv1": 64, "conv2": 16}
    convolutions = 64 * 5 * 27 + 16 * 2 * 5 * 9
    assert model(Configuration(channels={"conv1": 5, "conv2": 2})) == convolutions + 8 + 5 * 64 + 2 * 16


class Twice(nn.Module):
    """One layer called twice, at two resolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 8, 3, padding=1)
        self.again = nn.Conv2d(8, 8, 3, 2, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.enter(x))
        return self.linear(torch.relu(self.again(torch.relu(self.again(x)))).mean((2, 3)))


def test_a_layer_called_twice_counts_twice(make_subject: Any) -> None:
    model = MacModel(make_subject(Twice(), (3, 8, 8)).profile)
    assert model.layers["again"] == (16 + 4) * 8 * 72
