"""A target for tests: four classes of made-up 8 x 8 images, a network with a residual block, trained at once."""

import os
from collections.abc import Callable

import torch
from torch import nn

from leanfront.core.targets import Pixels, Target


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(16)
        self.linear = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.bn2(self.conv2(x)))
        x = torch.relu(self.bn3(self.conv3(x)))
        return self.linear(x.mean((2, 3)))


class Dies(Net):
    """Ends its process when a pool evaluates it with few channels: what running out of memory looks like."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.conv1.out_channels < 8 and os.environ.get("TINY_DRIVER") != str(os.getpid()):
            os._exit(9)
        return super().forward(x)


class Breaks(Net):
    """Gives NaN with one number of channels and raises with another."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output = super().forward(x)
        if self.conv3.out_channels == 14:
            return output * float("nan")
        if self.conv3.out_channels == 12 and not torch.is_grad_enabled() and len(x) > 2:
            raise RuntimeError("twelve is not to its taste")
        return output


def _data(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = 0.45 * torch.randn(count, 1, 8, 8, generator=generator)
    for label in range(4):
        row, column = divmod(label, 2)
        images[labels == label, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 0.5
    return images, labels


def _adam(parameters: list[nn.Parameter], rate: float) -> Callable[[torch.Tensor], None]:
    """A step of Adam for a loss: torch.optim imports its compiler, two seconds of every process that trains this."""
    first, second = ([torch.zeros_like(each) for each in parameters] for _ in range(2))
    count = 0

    def step(loss: torch.Tensor) -> None:
        nonlocal count
        count += 1
        with torch.no_grad():
            for weight, slope, mean, square in zip(
                parameters, torch.autograd.grad(loss, parameters), first, second, strict=True
            ):
                mean.lerp_(slope, 0.1)
                square.mul_(0.999).addcmul_(slope, slope, value=0.001)
                spread = (square.sqrt() / (1 - 0.999**count) ** 0.5).add_(1e-8)
                weight.addcdiv_(mean, spread, value=-rate / (1 - 0.9**count))

    return step


def _make(
    kind: type[Net], train: tuple[torch.Tensor, torch.Tensor] | None = None, pixels: Pixels | None = None
) -> Target:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        model = Net()
        inputs, labels = _data(256, 1)
        step = _adam(list(model.parameters()), 0.01)
        for _ in range(15):
            for batch in torch.arange(256).split(64):
                step(nn.functional.cross_entropy(model(inputs[batch]), labels[batch]))
        torch.set_num_threads(threads)
        final = kind()
        final.load_state_dict(model.state_dict())
    return Target(
        model=final,
        example_input=inputs[:1],
        calibration=_data(128, 2),
        validation=_data(200, 3),
        test=_data(120, 4),
        train=train,
        classes=["a", "b", "c", "d"],
        name="tiny",
        pixels=pixels,
    )


def target() -> Target:
    return _make(Net)


def recoverable() -> Target:
    """With a training split, from which compressed copies can learn."""
    return _make(Net, _data(320, 1))


def pictured() -> Target:
    """That says how its inputs are made of pixels, which can be corrupted then."""
    return _make(Net, pixels=Pixels((0.45,), (0.15,)))


def dies() -> Target:
    return _make(Dies)


def breaks() -> Target:
    return _make(Breaks)
