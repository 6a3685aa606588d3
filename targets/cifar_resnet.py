"""Built-in targets ``cifar10-resnet<depth>``: the ResNets of He et al. 2015 for CIFAR-10, with option-A shortcuts.

See arXiv 1512.03385, section 4.2. Module names match the public checkpoints of akamaster/pytorch_resnet_cifar10,
which can be loaded directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from leanfront.core.targets.builtin import CIFAR_RESNET_EPOCHS, CIFAR_RESNET_OPTIONS
from leanfront.core.targets.image_file import MAX_PIXELS
from leanfront.core.targets.image_target import image_target
from leanfront.core.targets.images import ImageArchive, ImageTree, PixelTransform
from leanfront.core.targets.option_values import training_device, whole
from leanfront.core.targets.pad_shortcut import PadShortcut
from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.sampling import balanced, stratified
from leanfront.core.targets.split import Split
from leanfront.core.targets.target import Target
from leanfront.core.targets.training_from_scratch import Recipe
from leanfront.core.targets.weights import load_weights
from leanfront.errors import TargetError

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SIZE = 32
CALIBRATION_SAMPLES = 1024
VALIDATION_SAMPLES = 5000
"""Number of validation images cut from CIFAR-10's training images, since CIFAR-10 has no validation split."""
SEED = 0
"""Seed of the cuts between splits."""


class BasicBlock(nn.Module):
    """Residual block of two 3 x 3 convolutions and a shortcut without parameters."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        same = stride == 1 and in_channels == channels
        self.shortcut = nn.Sequential() if same else PadShortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, channels, h / stride, w / stride)."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return functional.relu(out + self.shortcut(x))


class CifarResNet(nn.Module):
    """ResNet of 6 n + 2 layers: a 3 x 3 convolution, three stages of n blocks with 16, 32, 64 channels, a classifier.

    Args:
        depth: number of layers, 6 n + 2.
        classes: number of outputs.
    """

    def __init__(self, depth: int = 20, classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6 n + 2, such as 20, 32, 44, 56; not {depth}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, 1)
        self.layer2 = _stage(16, 32, blocks, 2)
        self.layer3 = _stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, 32, 32) to (n, classes) logits."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        # Not adaptive pooling, which fvcore would count: the reference count excludes pooling.
        out = functional.avg_pool2d(out, out.size()[3])
        out = out.view(out.size(0), -1)
        logits: Tensor = self.linear(out)
        return logits


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


class PixelArray(Dataset[tuple[Tensor, int]]):
    """Dataset of images in memory as bytes, normalised on reading.

    Args:
        data: uint8 (n, 32, 32, 3).
        targets: n class numbers.
        transform: transform from pixels to inputs.
    """

    def __init__(self, data: np.ndarray[Any, Any], targets: list[int], transform: PixelTransform) -> None:
        self.data, self.targets, self.transform = data, targets, transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.read_inputs([index])[0], self.targets[index]

    def read_inputs(self, indices: list[int]) -> Tensor:
        """Return the inputs of these images, float32 (len(indices), 3, 32, 32)."""
        return self.transform.normalise(torch.from_numpy(self.data[indices]).permute(0, 3, 1, 2))


def build(name: str, options: Mapping[str, str]) -> Target:
    """Build the target ``cifar10-resnet<depth>``.

    If there is a train split, the target can be trained from scratch: SGD with Nesterov momentum 0.9, learning rate
    0.1 with a short warm-up and a cosine schedule, weight decay 5e-4, batches of 128, crops and flips. One epoch of
    ResNet-20 on 9,000 images takes half a minute on two CPU cores.

    Args:
        name: ``cifar10-resnet`` and one of `builtin.DEPTHS`.
        options: see `builtin.CIFAR_RESNET_OPTIONS`.

    Raises:
        TargetError: weights or data are missing or do not fit.
        UsageError: an invalid number or device.
    """
    depth = int(name.removeprefix("cifar10-resnet"))
    epochs = whole(name, options, "epochs", 1) or CIFAR_RESNET_EPOCHS
    device = training_device(name, options)
    for option, what in (
        ("data", "data=FOLDER, data=FILE.zip or data=cifar10:FOLDER"),
        ("weights", "weights=FILE"),
    ):
        if not options.get(option):
            raise TargetError(
                f"{name} needs {option}: write '{name}?data=DATA&weights=FILE' with {what} "
                f"({CIFAR_RESNET_OPTIONS[option]})"
            )
    transform = PixelTransform(SIZE, MEAN, STD)
    location = _cifar_folder(options["data"])
    download = options.get("download", "0") not in ("0", "", "false", "no")
    if location is not None:
        data = _official(location, download, transform)
    else:
        archive = ImageArchive(options["data"], whole(name, options, "max_pixels", 1) or MAX_PIXELS)
        data = tree_splits(archive, transform, CALIBRATION_SAMPLES)
    with torch.random.fork_rng(devices=[]):
        model = CifarResNet(depth, len(data[1]))
    load_weights(model, options["weights"])
    fresh = partial(CifarResNet, depth, len(data[1]))
    return image_target(name, model, data, Pixels(MEAN, STD), fresh, Recipe(epochs), device)


def tree_splits(
    archive: ImageArchive, transform: Any, samples: int
) -> tuple[dict[str, Split], tuple[str, ...], list[str]]:
    """Create the splits of an image tree. Without ``calibration/``, that split is cut from the training images.

    Args:
        archive: archive with ``validation/`` (or ``val/``), and optionally ``train/``, ``test/``, ``calibration/``.
        transform: function from image to input.
        samples: number of calibration images cut from ``train/``.

    Returns:
        (splits by name, class names, sentences about the cuts).

    Raises:
        TargetError: there is no validation split.
    """
    known = ("validation", "test", "train", "calibration")
    folders: dict[str, str] = {name: name for name in known if name in archive.splits}
    if "validation" not in folders:
        folders["validation"] = "val" if "val" in archive.splits else "validation"
    splits = {
        name: Split.of(name, ImageTree(archive, folder, transform), cache=name != "train")
        for name, folder in folders.items()
    }
    cuts = []
    if "train" in splits and "calibration" not in splits:
        train = splits["train"]
        chosen = balanced(train.labels, min(samples, len(train) // 2), seed=SEED)
        if len(chosen):
            splits["calibration"], splits["train"] = train.cut("calibration", chosen)
            cuts.append(
                f"calibration: {len(chosen)} images cut from train, which keeps {len(splits['train'])}"
            )
    return splits, archive.classes, cuts


def _cifar_folder(data: str) -> Path | None:
    """Return the folder with ``cifar-10-batches-py`` if `data` means CIFAR-10 as stored by torchvision, else None."""
    if data.startswith("cifar10:"):
        return Path(data.removeprefix("cifar10:"))
    path = Path(data)
    if path.name == "cifar-10-batches-py":
        return path.parent
    return path if (path / "cifar-10-batches-py").is_dir() else None


def _official(
    folder: Path, download: bool, transform: PixelTransform
) -> tuple[dict[str, Split], tuple[str, ...], list[str]]:
    """Create the splits from CIFAR-10's own files: the training images are divided, the test images are test."""
    from torchvision.datasets import CIFAR10

    try:
        train, test = (CIFAR10(str(folder), train=train, download=download) for train in (True, False))
    except (OSError, RuntimeError) as error:
        hint = "" if download else "; add download=1 to let torchvision fetch it"
        raise TargetError(f"data: CIFAR-10 in '{folder}': {error}{hint}") from error
    whole = Split.of("train", PixelArray(train.data, list(train.targets), transform), cache=False)
    rest = len(whole) - CALIBRATION_SAMPLES - VALIDATION_SAMPLES
    if rest <= 0:
        raise TargetError(
            f"data: CIFAR-10 in '{folder}' has {len(whole)} training images; it is not complete"
        )
    kept, calibration, validation = stratified(
        whole.labels, (rest, CALIBRATION_SAMPLES, VALIDATION_SAMPLES), seed=SEED
    )
    splits = {
        "calibration": whole.cut("calibration", calibration)[0],
        "validation": whole.cut("validation", validation)[0],
        "train": whole.subset(kept),
        "test": Split.of("test", PixelArray(test.data, list(test.targets), transform)),
    }
    cuts = [
        f"calibration: {CALIBRATION_SAMPLES} and validation: {VALIDATION_SAMPLES} images cut from CIFAR-10's "
        f"training images, of which train keeps {rest}; weights trained on all of them score too well on validation"
    ]
    return splits, tuple(train.classes), cuts
