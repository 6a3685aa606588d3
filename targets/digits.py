"""Built-in target ``digits``: scikit-learn's handwritten digits and a small CNN that is trained on first use.

The data are 1,797 images of 8 x 8 pixels in 17 grey levels (Alpaydin and Kaynak 1998, the test part of UCI's optical
recognition of handwritten digits). Training takes seconds, and the weights are cached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.targets.option_values import whole
from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.retraining import Step
from leanfront.core.targets.sampling import stratified
from leanfront.core.targets.split import Split
from leanfront.core.targets.target import Target
from leanfront.core.targets.training_from_scratch import Recipe, train
from leanfront.core.targets.weights_cache import (
    cache_folder,
    fill,
    read_weights,
    unfit,
    weights_of,
    write_weights,
)

RECIPE = 1
"""Version of architecture and training; a new version does not read cached weights of an old one."""
SIZES = (744, 256, 400, 397)
"""Numbers of samples for train, calibration, validation and test. The network is trained on the first two."""
SPLIT_SEED = 0
EPOCHS = 40
BATCH = 64
RATE = 0.1
MEAN, DEVIATION = 4.884, 6.017
"""Mean and standard deviation of all pixels, in grey levels 0..16, rounded."""
LEVELS = 16


class ResidualBlock(nn.Module):
    """Residual block: two 3 x 3 convolutions whose input is added to their output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + x)


class DigitsNet(nn.Module):
    """A residual CNN of 52,842 parameters for 8 x 8 grey images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 40, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(40)
        self.block = ResidualBlock(40)
        self.conv3 = nn.Conv2d(40, 48, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(48)
        self.linear = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1, 8, 8) to (n, 10) logits."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = functional.relu(self.bn3(self.conv3(self.block(out))))
        logits: Tensor = self.linear(out.mean(dim=(2, 3)))
        return logits


def load_digits() -> tuple[Tensor, Tensor]:
    """Return images float32 (1797, 1, 8, 8), standardised with `MEAN` and `DEVIATION`, and labels int64 (1797,)."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1)
    return (images - MEAN) / DEVIATION, torch.from_numpy(bunch.target).long()


def build(name: str, options: Mapping[str, str]) -> Target:
    """Build the target ``digits``.

    Args:
        name: ``digits``, for messages.
        options: see `builtin.DIGITS_OPTIONS`.

    Raises:
        UsageError: the seed is not a non-negative integer.
    """
    seed = whole(name, options, "seed", 0) or 0
    images, labels = load_digits()
    train, calibration, validation, test = _parts(labels)
    return Target(
        model=retrain(seed),
        example_input=images[:1],
        train=(images[train], labels[train]),
        calibration=(images[calibration], labels[calibration]),
        validation=(images[validation], labels[validation]),
        test=(images[test], labels[test]),
        classes=[str(digit) for digit in range(10)],
        name="digits",
        augment=_shifted,
        pixels=Pixels((MEAN / LEVELS,), (DEVIATION / LEVELS,)),
        retrain=retrain,
    )


def retrain(seed: int, step: Step | None = None) -> DigitsNet:
    """Train the network of ``digits?seed=<seed>``, or load it from the cache if there is no `step`.

    Args:
        seed: seed of initialisation, order and shifts.
        step: see `Target.retrain`.
    """
    path = cache_folder() / f"digits-{RECIPE}-seed{seed}-torch{torch.__version__}.safetensors"
    kept = read_weights(path, path.name) if step is None else None
    if kept is not None:
        with torch.random.fork_rng(devices=[]):
            empty = DigitsNet().eval()
        if not unfit(empty, kept):
            fill(empty, kept)
            return empty
    images, labels = load_digits()
    train, calibration, _, _ = _parts(labels)
    seen = torch.cat((train, calibration))
    model = train_network(images[seen], labels[seen], seed, step)
    if step is None:
        write_weights(path, path.name, weights_of(model))
    return model


retrain.recipe = f"digits {RECIPE}"  # type: ignore[attr-defined]


def train_network(images: Tensor, labels: Tensor, seed: int, step: Step | None = None) -> DigitsNet:
    """Train the network from scratch: SGD with momentum, one-cycle schedule, shifts by up to one pixel.

    The result depends only on the arguments and on the version and arithmetic of PyTorch. The global random state and
    the number of threads are restored.

    Args:
        images: float32 (n, 1, 8, 8).
        labels: int64 (n,).
        seed: seed of initialisation, order and shifts.
        step: called after every optimiser step with (model, progress).

    Returns:
        The network in eval mode.
    """
    recipe = Recipe(EPOCHS, BATCH, RATE, label_smoothing=0.05, schedule="one_cycle")
    with _one_thread():
        model = train(
            DigitsNet, Split.of("train", (images, labels)), recipe, seed, augment=_shifted, step=step
        )
    assert isinstance(model, DigitsNet)
    return model


def _parts(labels: Tensor) -> tuple[Tensor, ...]:
    """Return the positions of train, calibration, validation and test."""
    return stratified(labels, SIZES, seed=SPLIT_SEED)


def _shifted(images: Tensor) -> Tensor:
    """Shift each image at random by -1, 0 or 1 pixels in both directions; borders are filled with background."""
    count = len(images)
    padded = functional.pad(images, (1, 1, 1, 1), value=float(images.min()))
    offsets = torch.randint(0, 3, (2, count))
    rows = offsets[0][:, None, None] + torch.arange(8)[None, :, None]
    columns = offsets[1][:, None, None] + torch.arange(8)[None, None, :]
    return padded[torch.arange(count)[:, None, None], 0, rows, columns].unsqueeze(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    # The order of sums depends on the number of threads, and every machine has one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
