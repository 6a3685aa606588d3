"""Norms with a forward of their own are rewritten and folded only where that is proven equal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.artifact.packed_file import read, restore, write
from leanfront.core.compressors.structure.norms import is_affine, keeps_function
from leanfront.core.targets import Target

PROBE = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def normed(norm: nn.BatchNorm2d, x: Tensor, gamma: Tensor) -> Tensor:
    return functional.batch_norm(
        x, norm.running_mean, norm.running_var, gamma, norm.bias, False, 0.1, norm.eps
    )


class Absolute(nn.BatchNorm2d):
    """Reads the size of its scale."""

    def forward(self, x: Tensor) -> Tensor:
        return normed(self, x, self.weight.abs() + 0.1)


class Gated(nn.BatchNorm2d):
    """Squashes its scale."""

    def forward(self, x: Tensor) -> Tensor:
        return normed(self, x, self.weight.sigmoid())


class Activated(nn.BatchNorm2d):
    """Adds an activation, as timm's norms do."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class Cast(nn.BatchNorm2d):
    """Computes the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


KINDS: dict[type[nn.BatchNorm2d], tuple[bool, bool]] = {
    nn.BatchNorm2d: (True, True),
    nn.SyncBatchNorm: (True, True),  # type: ignore[dict-item]
    Cast: (True, True),
    Activated: (True, False),
    Absolute: (False, False),
    Gated: (False, False),
}


def trained(kind: type[nn.BatchNorm2d]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm = kind(8)
        norm.running_mean, norm.running_var = torch.randn(8), torch.rand(8) * 4 + 0.5
        norm.weight.data, norm.bias.data = torch.randn(8), torch.randn(8)
        body = [nn.Conv2d(3, 8, 3, bias=False), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*body, nn.Linear(8, 3)).eval()


@pytest.mark.parametrize(("kind", "expected"), KINDS.items())
def test_what_a_norm_allows_is_tried(kind: Any, expected: tuple[bool, bool]) -> None:
    norm = trained(kind)[1]  # type: ignore[index]
    assert (keeps_function(norm), is_affine(norm)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_what_the_norm_computes(kind: type[nn.BatchNorm2d]) -> None:
    target = Target(model=trained(kind), example_input=PROBE[:1], validation=(PROBE, torch.arange(12) % 3))
    compressor = Compressor(target, samples=12)
    assert ("0" in compressor.context.foldable) is KINDS[kind][1]
    compressed = compressor.materialise(Configuration(channels={"0": 6}, weight_bits={"0": 8}))
    content = write(compressed, compressor.structure)
    restored = restore(read(content), target.model, target.example_input)
    assert torch.allclose(restored(PROBE), compressed.module(PROBE), atol=1e-5)
