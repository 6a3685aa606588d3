"""Plain layers take the place of layers that make their weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from leanfront.core.targets.model_copy import private_copy
from leanfront.core.targets.plain_layers import makes_weight

PROBE = torch.randn(4, 3, 9, 8, generator=torch.Generator().manual_seed(0))


class Standardised(nn.Conv2d):
    """Weight standardisation, as in BiT."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / weight.std((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Gained(nn.Conv2d):
    """A weight made in the hook of the forward, with a gain of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gain = nn.Parameter(torch.full((self.out_channels, 1, 1, 1), 0.7))

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight * self.gain, bias)


class Same(nn.Conv2d):
    """Padding as in TensorFlow."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, k, s in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // s) - 1) * s + k - size, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(functional.pad(x, pads), self.weight, self.bias, self.stride)


class Causal(nn.Conv1d):
    """Padding on one side."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (4, 0)))


class Equalised(nn.Module):
    """A linear map of its own, with a scaled weight, as in StyleGAN."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kernel, self.shift = (
            nn.Parameter(torch.randn(outputs, inputs)),
            nn.Parameter(torch.randn(outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.kernel * self.kernel.shape[1] ** -0.5, 0.1 * self.shift)


class Binary(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.sign() * self.weight.abs().mean(), self.bias)


class Turned(nn.ConvTranspose2d):
    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        return functional.conv_transpose2d(x, self.weight.tanh(), self.bias, self.stride)


def on(make: Callable[[nn.Sequential], Any]) -> Callable[[], nn.Module]:
    """Return a maker of a network whose middle layer or head was changed."""

    def made() -> nn.Module:
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(160, 3)
        )
        make(model)
        return model

    return made


def at(layer: nn.Module) -> nn.Module:
    """Return a network around a layer that maps (n, 3, 9, 8) to anything."""
    return nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(3))


def masks(model: nn.Sequential) -> None:
    prune.l1_unstructured(model[2], "weight", 0.5)
    prune.ln_structured(model[2], "weight", 0.25, n=2, dim=0)
    prune.random_unstructured(model[4], "bias", 0.5)


class Sigmoid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid()


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "masks": on(masks),
    "weight norm": on(lambda model: weight_norm(model[2])),
    "weight norm, parametrised": on(lambda model: parametrizations.weight_norm(model[2])),
    "spectral norm": on(lambda model: spectral_norm(model[2])),
    "spectral norm, parametrised": on(lambda model: parametrizations.spectral_norm(model[2])),
    "orthogonal": on(lambda model: parametrizations.orthogonal(model[4])),
    "of one's own": on(
        lambda model: nn.utils.parametrize.register_parametrization(model[4], "weight", Sigmoid())
    ),
    "standardised": lambda: at(Standardised(3, 6, 3, stride=2, padding=1, groups=3)),
    "gained": lambda: at(Gained(3, 6, 3, dilation=2)),
    "same": lambda: at(Same(3, 6, 3, stride=2)),
    "same, even": lambda: at(Same(3, 6, (4, 2), stride=(3, 1))),
    "causal": lambda: nn.Sequential(nn.Flatten(2), Causal(3, 6, 5), nn.Flatten(), nn.LazyLinear(3)),
    "equalised": lambda: nn.Sequential(nn.Flatten(), Equalised(216, 5), nn.ReLU(), nn.Linear(5, 3)),
    "binary": lambda: nn.Sequential(nn.Flatten(), Binary(216, 3)),
    "transposed": lambda: at(Turned(3, 4, 3, stride=2)),
}


def built(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = make()
        model(PROBE)
        return model.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_plain_layer_with_the_made_weight_takes_its_place(make: Callable[[], nn.Module]) -> None:
    model = built(make)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = private_copy(model)
    assert torch.allclose(found(PROBE), model(PROBE), atol=1e-5)
    layers = [each for each in found.modules() if list(each.parameters(recurse=False))]
    assert {type(each) for each in layers} <= {nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d}
    assert not any(makes_weight(each) for each in layers)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Post(nn.Conv2d):
    """Changes the output of its convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight.tanh(), self.bias).relu()


class Dynamic(nn.Conv2d):
    """Makes its weight of the input."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * x.mean(), self.bias)


class Mirrored(nn.Conv2d):
    """Pads with more than zeros."""

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return functional.conv2d(x, self.weight.tanh(), self.bias)


@pytest.mark.parametrize("kind", [Post, Dynamic, Mirrored])
def test_a_layer_that_is_not_plain_stays(kind: type[nn.Conv2d]) -> None:
    model = built(lambda: at(kind(3, 6, 3)))
    found: Any = private_copy(model)
    assert type(found[0]) is kind
    assert makes_weight(found[0])
    assert torch.equal(found(PROBE), model(PROBE))


class Counted(nn.Conv2d):
    """A forward of its own that uses its own weight."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("kind", [nn.Conv2d, Counted])
def test_a_layer_with_its_own_weight_stays(kind: type[nn.Conv2d]) -> None:
    found: Any = private_copy(built(lambda: at(kind(3, 6, 3))))
    assert type(found[0]) is kind
    assert not makes_weight(found[0])


def test_a_layer_in_two_places_stays_one() -> None:
    layer = Standardised(3, 3, 3, padding=1)
    found: Any = private_copy(built(lambda: nn.Sequential(layer, layer, nn.Flatten(), nn.Linear(216, 3))))
    assert found[0] is found[1]
    assert type(found[0]) is nn.Conv2d
