"""Small awkward networks that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.targets import Target
from leanfront.core.targets.model_copy import private_copy
from leanfront.core.targets.pad_shortcut import PadShortcut


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def stir(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give norms statistics and scales that matter, so that a misplaced channel shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                assert module.running_var is not None
                module.running_mean.copy_(0.3 * torch.randn(module.num_features, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
            weight = getattr(module, "weight", None)
            if isinstance(weight, nn.Parameter) and weight.dim() == 1:
                weight.copy_(0.5 + torch.rand(weight.shape, generator=generator))
    return model.eval()


class Chain(nn.Module):
    """conv -> norm -> conv -> pool -> linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return self.linear(x.mean((2, 3)))


class Residual(nn.Module):
    """Two producers whose outputs are added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 5, 3, padding=1)
        self.outer = nn.Conv2d(5, 8, 3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        x = x + self.outer(functional.relu(self.inner(x)))
        return self.linear(x.mean((2, 3)))


class Dense(nn.Module):
    """Concatenations: one consumer reads two groups, another reads three."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 4, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 4, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(16)
        self.linear = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat((x, self.conv1(functional.relu(self.norm1(x)))), 1)
        x = torch.cat((x, self.conv2(functional.relu(self.norm2(x)))), 1)
        return self.linear(functional.relu(self.norm3(x)).mean((2, 3)))


class Grouped(nn.Module):
    """A grouped convolution between two pointwise ones: units are one channel of each of four groups."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 16, 1)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.leave = nn.Conv2d(16, 6, 1)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.enter(x))
        x = functional.relu(self.grouped(x))
        return self.linear(functional.relu(self.leave(x)).mean((2, 3)))


class Depthwise(nn.Module):
    """Depthwise separable: the depthwise layer is cut with its producer."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(8)
        self.leave = nn.Conv2d(8, 6, 1)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.depthwise(functional.relu(self.enter(x)))))
        return self.linear(functional.relu(self.leave(x)).mean((2, 3)))


class Flatten(nn.Module):
    """A channel becomes 64 features of the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.hidden = nn.Linear(8 * 64, 10)
        self.linear = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(functional.relu(self.conv(x)), 1)
        return self.linear(functional.relu(self.hidden(x)))


class SqueezeExcite(nn.Module):
    """Channels rescaled by what a bottleneck makes of their means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.excite = nn.Conv2d(4, 8, 1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv(x))
        gate = self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return self.linear((x * torch.sigmoid(gate)).mean((2, 3)))


class OptionA(nn.Module):
    """A shortcut that subsamples and pads with zero channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 5, 3, 2, padding=1)
        self.outer = nn.Conv2d(5, 10, 3, padding=1)
        self.shortcut = PadShortcut(6, 10, 2)
        self.linear = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        x = self.shortcut(x) + self.outer(functional.relu(self.inner(x)))
        return self.linear(functional.relu(x).mean((2, 3)))


class HiddenPad(nn.Module):
    """The same shortcut written as slicing and padding, which defeats the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 5, 3, 2, padding=1)
        self.outer = nn.Conv2d(5, 10, 3, padding=1)
        self.linear = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        side = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        x = side + self.outer(functional.relu(self.inner(x)))
        return self.linear(functional.relu(x).mean((2, 3)))


class Tied(nn.Module):
    """Two layers share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(192, 8)
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.hidden = nn.Linear(8, 6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.enter(x.flatten(1)))
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.linear(torch.relu(self.hidden(x)))


class WeightNorm(nn.Module):
    """One parametrised layer among plain ones."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 8, 3, padding=1)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 6, 3, padding=1))
        self.hidden = nn.Linear(6, 5)
        self.linear = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.normed(functional.relu(self.enter(x))))
        return self.linear(torch.relu(self.hidden(x.mean((2, 3)))))


class Tokens(nn.Module):
    """Patches, a residual stream under layer norms, and a hidden layer: only the hidden units are free."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.norm1 = nn.LayerNorm(8)
        self.hidden = nn.Linear(8, 16)
        self.back = nn.Linear(16, 8)
        self.norm2 = nn.LayerNorm(8)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.back(functional.gelu(self.hidden(self.norm1(x))))
        return self.linear(self.norm2(x).mean(1))


class GroupNormed(nn.Module):
    """Group norm mixes four channels; an instance norm mixes none."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.group = nn.GroupNorm(2, 8)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
        self.instance = nn.InstanceNorm2d(6, affine=True)
        self.conv3 = nn.Conv2d(6, 6, 3, padding=1)
        self.plain = nn.InstanceNorm2d(6)
        self.conv4 = nn.Conv2d(6, 6, 3, padding=1)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.group(self.conv1(x)))
        x = functional.relu(self.instance(self.conv2(x)))
        x = functional.relu(self.plain(self.conv3(x)))
        return self.linear(functional.relu(self.conv4(x)).mean((2, 3)))


class LayerScale(nn.Module):
    """A bare parameter of shape (C, 1, 1), and activations with one or many slopes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 8).view(8, 1, 1))
        self.one = nn.PReLU()
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
        self.many = nn.PReLU(6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(self.conv1(x) * self.scale)
        return self.linear(self.many(self.conv2(x)).mean((2, 3)))


class ZeroGamma(nn.Module):
    """A residual branch whose last norm starts at zero, as is usual: the weights say nothing of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv1 = nn.Conv2d(8, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        nn.init.zeros_(self.norm.weight)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        x = x + self.norm(self.conv2(functional.relu(self.conv1(x))))
        return self.linear(x.mean((2, 3)))


class Transposed(nn.Module):
    """Transposed convolutions, one of them grouped."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.up = nn.ConvTranspose2d(8, 12, 2, 2)
        self.norm = nn.BatchNorm2d(12)
        self.grouped = nn.ConvTranspose2d(12, 6, 2, 2, groups=2)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.up(functional.relu(self.down(x)))))
        x = functional.relu(self.conv(functional.relu(self.grouped(x))))
        return self.linear(x.mean((2, 3)))


class Volume(nn.Module):
    """Three-dimensional convolutions of a clip made of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm3d(8)
        self.conv2 = nn.Conv3d(8, 6, 3, padding=1)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.conv1(x.unsqueeze(1))))
        return self.linear(functional.relu(self.conv2(x)).mean((2, 3, 4)))


class Attention(nn.Module):
    """Multi-head attention, whose output projection is never called as a module."""

    kind = nn.MultiheadAttention

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.position = nn.Parameter(0.1 * torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(1)))
        self.norm = nn.LayerNorm(8)
        self.attention = self.kind(8, 2, batch_first=True)
        self.hidden = nn.Linear(8, 16)
        self.back = nn.Linear(16, 8)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.linear((x + self.back(functional.gelu(self.hidden(x)))).mean(1))


class OwnAttention(nn.MultiheadAttention):
    """May compute anything, so that it is left as it is; it reads its out-projection's weights itself."""


class ClosedAttention(Attention):
    """Attention that keeps its heads."""

    kind = OwnAttention


@dataclass(frozen=True)
class Net:
    """A network's class, and the groups it must have: name -> (units, producers)."""

    make: Callable[[], nn.Module]
    groups: dict[str, tuple[int, set[str]]]

    def build(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return private_copy(stir(self.make()))


NETS: dict[str, Net] = {
    "chain": Net(Chain, {"conv1": (8, {"conv1", "bn1"}), "conv2": (6, {"conv2", "bn2"})}),
    "residual": Net(Residual, {"stem": (8, {"stem", "outer"}), "inner": (5, {"inner"})}),
    "dense": Net(
        Dense,
        {
            "stem": (8, {"stem", "norm1", "norm2", "norm3"}),
            "conv1": (4, {"conv1", "norm2", "norm3"}),
            "conv2": (4, {"conv2", "norm3"}),
        },
    ),
    "grouped": Net(Grouped, {"enter": (4, {"enter"}), "grouped": (4, {"grouped"}), "leave": (6, {"leave"})}),
    "depthwise": Net(Depthwise, {"enter": (8, {"enter", "depthwise", "norm"}), "leave": (6, {"leave"})}),
    "flatten": Net(Flatten, {"conv": (8, {"conv"}), "hidden": (10, {"hidden"})}),
    "squeeze-excite": Net(SqueezeExcite, {"conv": (8, {"conv", "excite"}), "squeeze": (4, {"squeeze"})}),
    "option-a": Net(
        OptionA, {"stem": (6, {"stem"}), "inner": (5, {"inner"}), "outer": (10, {"outer", "shortcut"})}
    ),
    "tied": Net(Tied, {"hidden": (6, {"hidden"})}),
    "weight-norm": Net(
        WeightNorm, {"enter": (8, {"enter"}), "normed": (6, {"normed"}), "hidden": (5, {"hidden"})}
    ),
    "tokens": Net(Tokens, {"hidden": (16, {"hidden"})}),
    "group-norm": Net(
        GroupNormed,
        {"conv2": (6, {"conv2", "instance"}), "conv3": (6, {"conv3", "plain"}), "conv4": (6, {"conv4"})},
    ),
    "layer-scale": Net(LayerScale, {"conv1": (8, {"conv1"}), "conv2": (6, {"conv2", "many"})}),
    "zero-gamma": Net(ZeroGamma, {"stem": (8, {"stem", "conv2", "norm"}), "conv1": (6, {"conv1"})}),
    "transposed": Net(Transposed, {"down": (8, {"down"}), "conv": (6, {"conv"})}),
    "volume": Net(Volume, {"conv1": (8, {"conv1", "norm"}), "conv2": (6, {"conv2"})}),
    "attention": Net(
        Attention,
        {"attention.in_proj": (2, {"attention.in_proj", "attention"}), "hidden": (16, {"hidden"})},
    ),
    "closed-attention": Net(ClosedAttention, {"hidden": (16, {"hidden"})}),
}


@pytest.fixture(scope="session")
def nets() -> dict[str, Net]:
    """Small awkward networks by name, with the groups they must have; inputs are (n, 3, 8, 8)."""
    return NETS


@pytest.fixture(params=sorted(NETS))
def net(request: pytest.FixtureRequest) -> Net:
    """Each of the small networks in turn."""
    return NETS[request.param]


@pytest.fixture(scope="session")
def hidden_pad() -> nn.Module:
    """A network that the dependency graph gets wrong."""
    return HiddenPad().eval()


MakeTarget = Callable[..., Target]


@pytest.fixture(scope="session")
def make_target() -> MakeTarget:
    """(model, samples) -> a target on random images (3, 8, 8)."""

    def make(model: nn.Module, samples: int = 48) -> Target:
        generator = torch.Generator().manual_seed(5)
        inputs = torch.randn(samples + 16, 3, 8, 8, generator=generator)
        with torch.no_grad():
            labels = model(inputs).argmax(1)
        return Target(
            model=model,
            example_input=inputs[:1],
            calibration=(inputs[:samples], labels[:samples]),
            validation=(inputs[samples:], labels[samples:]),
            name="made",
            classes=list("abcd"),
        )

    return make
