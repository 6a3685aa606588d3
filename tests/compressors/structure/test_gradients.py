"""Layers that a forward hides from autograd are found, measured and cut like others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.structure.gradients import outside, throughout
from leanfront.core.targets import Target

PROBE = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Frozen(nn.Module):
    """A body that takes no gradients, and a head."""

    def __init__(
        self,
        within: Callable[[], AbstractContextManager[object]] = nullcontext,
        cut: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.second, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.Linear(6, 3)
        self.within, self.cut = within, cut

    def forward(self, x: Tensor) -> Tensor:
        with self.within():
            x = torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3))
        return self.head(self.cut(x.clone()))


WAYS: dict[str, Callable[[], Frozen]] = {
    "no_grad": lambda: Frozen(torch.no_grad),
    "inference_mode": lambda: Frozen(torch.inference_mode),
    "set_grad_enabled": lambda: Frozen(lambda: torch.set_grad_enabled(False)),
    "detach": lambda: Frozen(cut=Tensor.detach),
    "torch.detach": lambda: Frozen(cut=torch.detach),
}


def target(model: nn.Module) -> Target:
    return Target(model=model.eval(), example_input=PROBE[:1], validation=(PROBE, torch.arange(8) % 3))


@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)
def test_frozen_layers_are_as_those_of_a_model_that_is_not_frozen(make: Callable[[], Frozen]) -> None:
    frozen, free = (Compressor(target(each), samples=8) for each in (make(), Frozen()))
    assert dict(frozen.structure.groups) == dict(free.structure.groups)
    for layer in ("first", "second", "head"):
        ours, theirs = frozen.context.saliency.moments[layer], free.context.saliency.moments[layer]
        assert torch.allclose(ours.fisher, theirs.fisher, rtol=1e-4)
        assert bool((ours.fisher > 0).any())
    module = frozen.materialise(Configuration(channels={"first": 4}, weight_bits={"second": 4})).module
    assert module(PROBE).isfinite().all()


def test_gradients_are_as_before_outside_the_context() -> None:
    x = torch.ones(2, requires_grad=True)
    with throughout():
        with torch.no_grad():
            assert (2 * x).requires_grad
        with torch.inference_mode():
            assert not (2 * x).is_inference()
        assert x.detach().requires_grad
        with outside():
            assert not x.detach().requires_grad
    assert not x.detach().requires_grad
    with torch.no_grad():
        assert not (2 * x).requires_grad
    with torch.inference_mode():
        assert (2 * x).is_inference()
