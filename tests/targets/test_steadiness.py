"""A model must compute the same from the same sample, whatever came before it and stands beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.targets import Target
from leanfront.errors import TargetError

X, Y = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3


class Around(nn.Module):
    """A small network with something behind its convolution."""

    def __init__(self, inner: nn.Module | Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(self.conv(x))
        return self.head(y.relu().mean((2, 3)))


class Drop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.3)


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


class OwnNoise(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seed += 1
        return x + torch.rand(x.shape, generator=torch.Generator().manual_seed(self.seed))


class Running(nn.Module):
    """Updates its statistics in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.mean, Tensor)
        self.mean.mul_(0.9).add_(x.mean((0, 2, 3)))
        return x - self.mean[:, None, None]


class Memory(nn.Module):
    """Adds what it saw before."""

    before: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        kept, self.before = self.before, x.mean().detach()
        return x if kept is None else x + kept * 10 + 1


UNSTEADY: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "dropout": (lambda: Around(Drop()), r"inner \(Drop\) draws random numbers in eval mode"),
    "noise": (
        lambda: Around(nn.Sequential(Noise())),
        r"inner\.0 \(Noise\) draws random numbers in eval mode",
    ),
    "function": (
        lambda: Around(lambda x: functional.dropout(x, 0.3)),
        r"the model \(Around\) itself draws random numbers in eval mode",
    ),
    "own noise": (lambda: Around(OwnNoise()), r"inner \(OwnNoise\) keeps state from one call to the next"),
    "running": (
        lambda: Around(Running()),
        r"inner \(Running\) changes its buffer 'inner\.mean' in eval mode",
    ),
    "memory": (lambda: Around(Memory()), r"inner \(Memory\) keeps state from one call to the next"),
}


def made(model: nn.Module, inputs: Tensor = X) -> Target:
    return Target(model=model, example_input=inputs[:1], validation=(inputs, Y[: len(inputs)]))


@pytest.mark.parametrize("kind", UNSTEADY)
def test_outputs_that_change_from_run_to_run_are_refused(kind: str) -> None:
    model, said = UNSTEADY[kind]
    with pytest.raises(TargetError, match=f"other outputs in a second run on the same 4 inputs .*{said}"):
        made(model())


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class AcrossBatch(nn.Module):
    """Attention over the wrong dimension, as without batch_first."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = 3 * x.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2)[..., None]


MIXING: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "norm": (
        lambda: Around(nn.BatchNorm2d(4, track_running_stats=False)),
        r"inner \(BatchNorm2d\) normalises with the statistics of the batch; give it track_running_stats=True",
    ),
    "mean": (lambda: Around(Centred()), r"inner \(Centred\) mixes samples"),
    "function": (
        lambda: Around(lambda x: functional.batch_norm(x, None, None, training=True)),
        r"the model \(Around\) itself mixes samples",
    ),
    "attention": (lambda: Around(AcrossBatch()), r"inner.* mixes samples"),
}


@pytest.mark.parametrize("kind", MIXING)
def test_outputs_that_depend_on_the_batch_are_refused(kind: str) -> None:
    model, said = MIXING[kind]
    with pytest.raises(TargetError, match=f"depend on the other samples of its batch .*: {said}"):
        made(model())


def test_a_norm_that_refuses_one_sample_is_explained() -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(108, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3)
    )
    with pytest.raises(
        TargetError, match=r"in 2 \(BatchNorm1d\).*statistics of the batch; give it track_running_stats"
    ):
        made(model)


class Rounds(nn.Module):
    """Large values that cancel: other orders of summation give other digits."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.head = nn.Linear(108, 2000), nn.Linear(2000, 3)
        self.head.weight.data.mul_(1e3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.wide(1e3 * x.flatten(1)))


@pytest.mark.parametrize(
    "model",
    [
        lambda: Around(nn.Sequential(nn.BatchNorm2d(4), nn.Dropout(0.5))),
        lambda: Around(nn.InstanceNorm2d(4)),
        lambda: Around(nn.GroupNorm(2, 4)),
        Rounds,
    ],
)
def test_sound_models_are_accepted(model: Callable[[], nn.Module]) -> None:
    network = model()
    drawn = torch.random.get_rng_state()
    assert len(made(network).validation) > 0
    assert torch.equal(torch.random.get_rng_state(), drawn)
