"""The built-in target: scikit-learn's handwritten digits and a small CNN trained on the spot.

1,797 images of 8 x 8 pixels in 17 grey levels (Alpaydin and Kaynak 1998, the test part of UCI's optical
recognition of handwritten digits). Training takes seconds and its result is kept.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from targets.errors import UsageError
from targets.sampling import stratified
from targets.target import Target

OPTIONS = {"seed": "seed of the training, default 0; the splits stay the same"}
RECIPE = 1
"""Version of architecture and training; a new one never reads the old one's kept weights."""
SIZES = (744, 256, 400, 397)
"""Samples for train, calibration, validation, test. The network is trained on the first two."""
SPLIT_SEED = 0
EPOCHS = 40
BATCH = 64
RATE = 0.01


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions whose input is added to their output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> the same shape."""
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
        """(n, 1, 8, 8) -> (n, 10) logits."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = functional.relu(self.bn3(self.conv3(self.block(out))))
        logits: Tensor = self.linear(out.mean(dim=(2, 3)))
        return logits


def load_digits() -> tuple[Tensor, Tensor]:
    """(images float32 (1797, 1, 8, 8), standardised over all pixels with fixed figures; labels int64 (1797,))."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1)
    # Grey levels 0..16; mean and deviation of the whole set, rounded.
    return (images - 4.884) / 6.017, torch.from_numpy(bunch.target).long()


def build(options: Mapping[str, str]) -> Target:
    """The target ``digits``: see `OPTIONS`.

    Raises:
        UsageError: the seed is no integer.
    """
    text = options.get("seed", "0")
    if not text.isdecimal():
        raise UsageError(f"digits: seed is '{text}'; give a whole number from 0")
    images, labels = load_digits()
    train, calibration, validation, test = stratified(labels, SIZES, seed=SPLIT_SEED)
    seen = torch.cat((train, calibration))
    model = _trained(images[seen], labels[seen], int(text))
    return Target(
        model=model,
        example_input=images[:1],
        train=(images[train], labels[train]),
        calibration=(images[calibration], labels[calibration]),
        validation=(images[validation], labels[validation]),
        test=(images[test], labels[test]),
        classes=[str(digit) for digit in range(10)],
        name="digits",
        augment=_shifted,
    )


def train_network(images: Tensor, labels: Tensor, seed: int) -> DigitsNet:
    """Train the network from scratch: SGD with momentum, cosine schedule, shifts by up to one pixel.

    The result depends on nothing but the arguments and the versions of PyTorch and its arithmetic; the global
    random state and the number of threads are put back.

    Args:
        images: float32 (n, 1, 8, 8).
        labels: int64 (n,).
        seed: of initialisation, order and shifts.

    Returns:
        The network in eval mode.
    """
    with _one_thread(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        model = DigitsNet().train()
        steps = EPOCHS * -(-len(images) // BATCH)
        optimiser = torch.optim.SGD(
            model.parameters(), RATE * 5, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE * 10, total_steps=steps)
        for _ in range(EPOCHS):
            for batch in torch.split(torch.randperm(len(images)), BATCH):
                loss = functional.cross_entropy(
                    model(_shifted(images[batch])), labels[batch], label_smoothing=0.05
                )
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                schedule.step()
    return model.eval()


def _shifted(images: Tensor) -> Tensor:
    """Each image moved by -1, 0 or 1 pixels in both directions; what moves in is background."""
    count = len(images)
    padded = functional.pad(images, (1, 1, 1, 1), value=float(images.min()))
    offsets = torch.randint(0, 3, (2, count))
    rows = offsets[0][:, None, None] + torch.arange(8)[None, :, None]
    columns = offsets[1][:, None, None] + torch.arange(8)[None, None, :]
    return padded[torch.arange(count)[:, None, None], 0, rows, columns].unsqueeze(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    # Sums are split by the number of threads, so one is the number everybody has.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cache_folder() -> Path:
    """Where trained weights are kept: ``LEANFRONT_CACHE``, ``$XDG_CACHE_HOME/leanfront``, ``~/.cache/leanfront``."""
    own = os.environ.get("LEANFRONT_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "leanfront"


def _trained(images: Tensor, labels: Tensor, seed: int) -> DigitsNet:
    """The trained network, from the cache when it is there and whole."""
    path = cache_folder() / f"digits-{RECIPE}-seed{seed}-torch{torch.__version__}.safetensors"
    kept = _read(path)
    if kept is not None:
        return kept
    model = train_network(images, labels, seed)
    _write(path, model)
    return model


def _read(path: Path) -> DigitsNet | None:
    """The network of a kept file; None where there is none or it is damaged, so that it is made anew."""
    with torch.random.fork_rng(devices=[]):
        model = DigitsNet()
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError):
        return None
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())
    return model.eval() if finite else None


def _write(path: Path, model: nn.Module) -> None:
    """Keep the weights. A cache that cannot be written costs the next start seconds, so it is no error."""
    with suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(handle)
        try:
            Path(temporary).write_bytes(safetensors.torch.save(model.state_dict()))
            # Renaming is atomic: another process sees the whole file or none.
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
