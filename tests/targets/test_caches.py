"""Tensors that a forward keeps in attributes neither stop a copy nor outlive a change of the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.targets import Target
from leanfront.core.targets.model_copy import private_copy

PROBE = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Keeping(nn.Module):
    """Keeps what it made of its table by device, as LeViT and EfficientFormer do."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Parameter(torch.randn(8)), nn.Linear(4, 3)
        self.kept: Any = {}

    def bias(self) -> Tensor:
        if "cpu" not in self.kept:
            self.kept["cpu"] = self.table[:3] * 2
        return self.kept["cpu"]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) + self.bias()


class Once(Keeping):
    """Keeps it in an attribute that is None at first."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = None

    def bias(self) -> Tensor:
        if self.kept is None:
            self.kept = self.table[:3] * 2
        return self.kept


class Late(Keeping):
    """Adds the attribute."""

    def bias(self) -> Tensor:
        if not hasattr(self, "late"):
            self.late = self.table[:3] * 2
        return self.late


class Recording(Keeping):
    """Keeps its activations, and never reads them."""

    def forward(self, x: Tensor) -> Tensor:
        self.kept = [x, self.head(x)]
        return self.kept[1] + self.table[:3]


KINDS = [Keeping, Once, Late, Recording]


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_the_weights_is_seen(kind: type[Keeping]) -> None:
    model = kind().eval()
    target = Target(model=model, example_input=PROBE[:1], validation=(PROBE, torch.arange(6) % 3))
    copied: Any = target.model
    before = copied(PROBE)
    with torch.no_grad():
        copied.table.add_(1)
    assert not torch.allclose(copied(PROBE), before)


@pytest.mark.parametrize("kind", [Keeping, Recording])
def test_a_model_that_ran_under_gradients_is_copied_and_not_changed(kind: type[Keeping]) -> None:
    model = kind().eval()
    expected = model(PROBE)
    kept = model.kept
    copied = private_copy(model, PROBE)
    assert torch.allclose(copied(PROBE), expected)
    assert model.kept is kept
    with torch.no_grad():
        model.table.add_(1)
        copied.table.add_(1)  # type: ignore[operator, union-attr]
    model.kept = {}
    assert torch.allclose(copied(PROBE), model(PROBE))


class Counting(nn.Module):
    """Depends on what it kept: left to be refused, not hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.state = nn.Linear(4, 3), torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        self.state = self.state + 1
        return self.head(x) + self.state


def test_state_that_changes_the_outputs_is_not_hidden() -> None:
    copied = private_copy(Counting().eval(), PROBE)
    assert not torch.allclose(copied(PROBE), copied(PROBE))


@pytest.mark.parametrize("name", ["levit_128s", "efficientformer_l1"])
def test_models_of_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, num_classes=3).eval()
    inputs = torch.randn(1, 3, 224, 224)
    expected = model(inputs)
    copied = private_copy(model, inputs)
    with torch.no_grad():
        assert torch.allclose(copied(inputs), expected, atol=1e-5)
        for tensor in copied.parameters():
            tensor.add_(0.01)
        again = private_copy(copied)
        assert torch.allclose(copied(inputs), again(inputs), atol=1e-4)
