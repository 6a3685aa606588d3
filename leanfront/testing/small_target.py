"""Small networks on random images, for tests of computations on a model."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from leanfront.core.targets.target import Target

IMAGES, VALIDATION = 12, 8
"""Number of calibration images and of validation images, (3, 8, 8) each."""

Net = TypeVar("Net", bound=nn.Module)


class SmallNet(nn.Module):
    """Convolutions of every kind, with and without a following norm, around a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 6, 3, padding=1)
        self.outer = nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 12, 2, 2, groups=2)
        self.grouped = nn.Conv2d(12, 8, 3, padding=1, groups=2)
        self.leave = nn.Conv2d(8, 10, 1)
        self.norm3 = nn.BatchNorm2d(10)
        self.linear = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.enter(x)))
        x = torch.relu(x + self.norm2(self.outer(torch.relu(self.inner(x)))))
        x = torch.relu(self.up(torch.relu(self.depthwise(x))))
        x = torch.relu(self.norm3(self.leave(torch.relu(self.grouped(x)))))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class ChainNet(nn.Module):
    """Two convolutions with a norm between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 6, 3, padding=1)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        logits: Tensor = self.linear(torch.relu(self.second(x)).mean((2, 3)))
        return logits


@cache
def small_target() -> Target:
    """Return a target with a `SmallNet`; all calls return the same object."""
    return _target(_made(SmallNet))


@cache
def chain_target(order: tuple[int, ...] = tuple(range(8)), silent: int | None = None) -> Target:
    """Return a target with a `ChainNet`, which computes the same whatever `order` is.

    Args:
        order: order of the first layer's eight channels.
        silent: index of a channel that is always zero.
    """
    model = _made(ChainNet)
    first, norm, second = model.first, model.norm, model.second
    places = list(order)
    with torch.no_grad():
        for tensor in (first.weight, first.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            if silent is not None and tensor is not norm.running_var:
                tensor[silent] = 0
            tensor.copy_(tensor[places].clone())
        second.weight.copy_(second.weight[:, places].clone())
    return _target(model)


def _made(kind: type[Net]) -> Net:
    """Make a network with fixed weights, and norms whose statistics and scales matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = kind()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


def _target(model: nn.Module) -> Target:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(IMAGES + VALIDATION, 3, 8, 8, generator=generator)
    with torch.no_grad():
        labels = model(images).argmax(1)
    return Target(
        model=model,
        example_input=images[:1],
        calibration=(images[:IMAGES], labels[:IMAGES]),
        validation=(images[IMAGES:], labels[IMAGES:]),
        name="small",
        classes=list("abcd"),
    )
