from __future__ import annotations

import torch
from torch import Tensor, nn

from leanfront.core.cost_models.allocations import Allocations, peak, watch

X = torch.zeros(1, 100)


def sizes_and_peak(module: nn.Module) -> tuple[list[int], float]:
    record = watch(module, X)
    return record.sizes, peak(record)


class Steps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a = x + 1  # 400 bytes
        b = a.repeat(1, 2)  # 800, with a alive
        del a
        c = b * 2  # 800 with b alive
        del b
        return c[:, :50] + 0  # 200 with c alive


def test_what_comes_and_goes() -> None:
    record = watch(Steps(), X)
    assert record.sizes == [400, 800, 800, 200]
    assert record.events[:6] == [0, 1, -1, 2, -2, 3]
    assert peak(record) == 1600
    assert sorted(record.events) == [-4, -3, -2, -1, 0, 1, 2, 3]


def test_views_and_in_place_operations_make_nothing() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = (x + 1).relu_().view(10, 10).transpose(0, 1)
            y += 1
            return y.flatten()[:10]

    # The one copy that flattening a transposed matrix needs.
    assert sizes_and_peak(InPlace()) == ([400, 400], 800)
    assert sizes_and_peak(nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True))) == ([400], 400)


def test_the_input_and_parameters_are_not_counted() -> None:
    model = nn.Linear(100, 10)
    assert sizes_and_peak(model) == ([40], 40)
    assert sizes_and_peak(nn.Identity()) == ([], 0)


def test_peaks_by_hand() -> None:
    record = Allocations([1, 2, 4], [0, 1, -1, 2, -2, -3])
    assert peak(record) == 6
    assert peak(Allocations([10, 2, 4], record.events)) == 12
    assert peak(Allocations()) == 0
