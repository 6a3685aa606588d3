"""Walks that go in circles end early, and all others give what the library gives."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
import torch_pruning
from torch import Tensor, nn

from leanfront.core.compressors.structure import graph as graphs
from leanfront.core.compressors.structure.graph import FEWEST_INDICES, Limits, dependency_groups


def test_groups_are_the_librarys(net: Any) -> None:
    model, example = net.build(), torch.randn(1, 3, 8, 8)
    graph, groups, _ = dependency_groups(model, example)
    for group in groups:
        root = group[0].dep
        channels = list(range(graph.get_out_channels(root.target.module)))
        expected = graph.get_pruning_group(root.target.module, root.handler, channels)
        assert [(item.dep, item.idxs, item.root_idxs) for item in group] == [
            (item.dep, item.idxs, item.root_idxs) for item in expected
        ]


class Outer(nn.Module):
    """An outer product of two layers' features is flattened: indices of either multiply."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(48, 32), nn.Linear(48, 32), nn.Linear(1024, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.head((self.a(x)[:, :, None] * self.b(x)[:, None, :]).flatten(1))


class Partial(nn.Module):
    """Shortcuts add to the first channels only, as ReXNet's: slices lead in circles."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(8 + 4 * i, 12 + 4 * i, 1) for i in range(8))
        self.head = nn.Linear(40, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, x, x], 1)[:, :8]
        for layer in self.layers:
            y = layer(x)
            width = x.shape[1]
            x = torch.cat([y[:, :width] + x, y[:, width:]], 1)
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("kind", [Outer, Partial])
def test_circles_end_early(kind: type[nn.Module]) -> None:
    begin = time.process_time()
    _, _, failures = dependency_groups(kind().eval(), torch.randn(1, 3, 4, 4))
    # Not a benchmark: without limits it is minutes.
    assert time.process_time() - begin < 20
    assert all("cannot be followed" in reason for _, reason in failures)


def test_limits_follow_the_model() -> None:
    small = Limits.of(nn.Linear(4, 4), 10)
    large = Limits.of(nn.Sequential(nn.Linear(4096, 4096), nn.Linear(4096, 4096)), 10_000)
    assert small == Limits()
    assert small.indices == FEWEST_INDICES < large.indices
    assert small.steps < large.steps


def test_time_is_limited_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "SECONDS", -1.0)
    monkeypatch.setattr(graphs, "CLOCK", 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 3))
    _, groups, failures = dependency_groups(model, torch.randn(1, 3, 4, 4))
    assert groups == []
    assert [reason for _, reason in failures if "it takes over" in reason]
    assert torch_pruning.dependency.index_mapping._FlattenIndexMapping is not graphs._BoundedFlatten
