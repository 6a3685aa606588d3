"""Which additions are seen, and whose outputs their operands are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.compressors.refit.additions import Additions, Sum, independent

INPUT = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class Adds(nn.Module):
    """`add` of a normed layer's output and of the input."""

    def __init__(self, add: Callable[[Tensor, Tensor], Tensor], between: nn.Module) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.between = between
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self.between(self.norm(self.layer(x))), x)


def sums_of(model: nn.Module, layers: Mapping[str, nn.Module], norms: Mapping[str, str]) -> list[Sum]:
    seen: list[Sum] = []
    additions = Additions(seen.append)
    handles = additions.watch(dict(model.named_modules()), layers, norms)
    with torch.no_grad(), additions:
        model(INPUT)
    for handle in handles:
        handle.remove()
    assert not any(m._forward_hooks for m in model.modules())
    return seen


def sums(add: Callable[[Tensor, Tensor], Tensor], between: nn.Module | None = None) -> list[Sum]:
    model = Adds(add, nn.Identity() if between is None else between).eval()
    return sums_of(model, {"layer": model.layer}, {"layer": "norm"})


def _in_place(x: Tensor, y: Tensor) -> Tensor:
    x += y
    return x


@pytest.mark.parametrize(
    "add",
    [torch.add, Tensor.add, Tensor.add_, lambda x, y: x + y, _in_place, lambda x, y: x.__radd__(y)],
    ids=["torch.add", "add", "add_", "+", "+=", "radd"],
)
def test_every_way_to_add_is_seen(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    (seen,) = sums(add)
    assert seen.number == 0
    assert seen.layers == ("layer", None)
    assert seen.operands[1] is INPUT


def test_either_operand_may_be_the_layers() -> None:
    (seen,) = sums(lambda x, y: y + x)
    assert seen.layers == (None, "layer")
    assert seen.operands[0] is INPUT


@pytest.mark.parametrize(
    "add",
    [
        lambda x, y: x + y.mean((2, 3), keepdim=True),
        lambda x, y: x + 1.0,
        lambda x, y: 1 + x,
        lambda x, y: torch.add(x, y, alpha=2),
        lambda x, y: x - y,
        lambda x, y: x * y,
        lambda x, y: torch.cat((x, y), 1),
    ],
    ids=["broadcast", "number", "number first", "scaled", "difference", "product", "concatenation"],
)
def test_other_operations_are_no_sums(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert sums(add) == []


def test_sums_are_numbered_in_order() -> None:
    seen = sums(lambda x, y: (x + y) + (y + 1) + y)
    assert [each.number for each in seen] == [0, 1, 2]
    assert [each.layers for each in seen] == [("layer", None), (None, None), (None, None)]


@pytest.mark.parametrize("between", [nn.Identity(), nn.Dropout(0.5), nn.Dropout2d(0.5)])
def test_modules_that_pass_their_input_on_keep_its_origin(between: nn.Module) -> None:
    assert sums(torch.add, between)[0].layers == ("layer", None)


@pytest.mark.parametrize("between", [nn.ReLU(), nn.ReLU(inplace=True), nn.BatchNorm2d(3)])
def test_what_was_changed_since_is_no_layers_output(between: nn.Module) -> None:
    assert sums(torch.add, between)[0].layers == (None, None)


def test_a_norm_that_is_not_the_layers_ends_its_origin() -> None:
    model = Adds(torch.add, nn.Identity()).eval()
    (seen,) = sums_of(model, {"layer": model.layer}, {})
    assert seen.layers == (None, None)


def test_additions_of_ours_are_not_counted() -> None:
    seen: list[Sum] = []
    with Additions(seen.append) as additions:
        with additions.quiet():
            _ = INPUT + INPUT
        _ = INPUT + INPUT
    assert [each.number for each in seen] == [0]


def test_an_operand_changed_by_the_visitor_is_what_is_added() -> None:
    def visit(seen: Sum) -> None:
        seen.operands[0].zero_()

    with Additions(visit):
        x = torch.ones(2, 3)
        assert torch.equal(x + 5 * torch.ones(2, 3), 5 * torch.ones(2, 3))
        y = torch.ones(2, 3)
        y.add_(7 * torch.ones(2, 3))
    assert torch.equal(x, torch.zeros(2, 3))
    assert torch.equal(y, 7 * torch.ones(2, 3))


def test_independence_is_autograds() -> None:
    x = torch.randn(3, requires_grad=True)
    y, other = 2 * x, torch.randn(3, requires_grad=True).exp()
    assert independent(other, [y])
    assert not independent(other + y.sum(), [y])
    assert not independent(torch.relu(y) + other, [other.clone(), y])
    with torch.no_grad():
        hidden: Any = y + 1
    assert not independent(hidden, [y]), "computed without gradients: unknown"
