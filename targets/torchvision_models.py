"""Torchvision's classification models on a tree of images."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from targets.augmentation import CropAndFlip
from targets.cifar_resnet import tree_splits
from targets.errors import TargetError, UsageError
from targets.images import ImageArchive, PixelTransform
from targets.target import Target
from targets.weights import load_weights

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SIZE = 224
RESIZE = 256 / 224
"""Shorter side of the resized image over the side of the centre crop: the usual ImageNet evaluation."""
CALIBRATION_SAMPLES = 512
OPTIONS = {
    "data": "folder or zip of images as validation|test|train/<class>/<image>",
    "weights": "state-dict or safetensors file, DEFAULT, the name of a set of torchvision's weights, or random",
    "size": "side of the square input in pixels, default 224 or what the weights were made for",
    "seed": "seed of random weights, default 0",
}


class CentreCrop:
    """PIL image -> float32 (3, size, size): shorter side resized, centre cut out, normalised for ImageNet.

    Args:
        size: side of the crop in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.resize = round(size * RESIZE)
        self._pixels = PixelTransform(size, MEAN, STD)

    def __call__(self, image: Image.Image) -> Tensor:
        short = min(image.size)
        # Truncated as torchvision's Resize does, so that both give the same crop.
        width, height = (self.resize * side // short for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return self._pixels(image.crop((left, top, left + self.size, top + self.size)))

    def __repr__(self) -> str:
        return f"CentreCrop(size={self.size}, resize={self.resize})"


def build(model: str, options: Mapping[str, str]) -> Target:
    """The target ``torchvision:<model>``.

    Args:
        model: name of one of torchvision's classification models.
        options: see `OPTIONS`.

    Raises:
        UsageError: no such model or weights, or a number that is none.
        TargetError: no data, weights that do not fit, or a download that failed.
    """
    _check_name(model)
    reference = f"torchvision:{model}"
    if not options.get("data"):
        raise TargetError(f"{reference} needs data: write '{reference}?data=FOLDER' ({OPTIONS['data']})")
    size = _number(reference, "size", options.get("size"), 1)
    seed = _number(reference, "seed", options.get("seed"), 0) or 0
    chosen = options.get("weights") or "DEFAULT"
    archive = ImageArchive(options["data"])
    transform: Any = CentreCrop(size or SIZE)
    if chosen == "random":
        network = _fresh(model, len(archive.classes), seed)
    elif _is_file(chosen):
        network = _fresh(model, len(archive.classes), seed)
        load_weights(network, chosen)
    else:
        weights = _published(model, chosen)
        categories = len(weights.meta["categories"])
        if len(archive.classes) != categories:
            raise TargetError(
                f"weights={chosen} of {model} tell {categories} classes apart, but '{archive.path}' has "
                f"{len(archive.classes)}; give all {categories} class folders (ImageNet's, by their wnid), or "
                "weights=FILE of a model trained on your classes"
            )
        network = _downloaded(model, weights)
        if size is None:
            transform = weights.transforms()
    _drop_auxiliary(network)
    splits, classes, cuts = tree_splits(archive, transform, CALIBRATION_SAMPLES)
    shape = splits["validation"].sample_shape
    return Target(
        model=network,
        example_input=torch.zeros(1, *shape),
        classes=classes,
        name=reference,
        augment=CropAndFlip(min(shape[1:]) // 8),
        cuts=cuts,
        validation=splits["validation"],
        calibration=splits.get("calibration"),
        test=splits.get("test"),
        train=splits.get("train"),
    )


def architecture(model: str, classes: int) -> nn.Module:
    """One of torchvision's classification models with random weights, as `build` makes it.

    Raises:
        UsageError: no such model.
    """
    _check_name(model)
    network = _fresh(model, classes, 0)
    _drop_auxiliary(network)
    return network


def _check_name(model: str) -> None:
    from torchvision import models

    known = models.list_models(module=models)
    if model not in known:
        close = difflib.get_close_matches(model, known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
        raise UsageError(f"torchvision has no classification model '{model}'; {hint}")


def _number(reference: str, option: str, text: str | None, least: int) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"{reference}: {option} is '{text}'; give a whole number from {least}")
    return int(text)


def _is_file(weights: str) -> bool:
    return Path(weights).exists() or "/" in weights or Path(weights).suffix in (".safetensors", ".pt", ".pth")


def _fresh(model: str, classes: int, seed: int) -> nn.Module:
    from torchvision import models

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # GoogLeNet and Inception announce a slower initialisation to come.
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        network: nn.Module = models.get_model(model, weights=None, num_classes=classes)
    return network


def _published(model: str, name: str) -> Any:
    from torchvision import models

    known = models.get_model_weights(model)
    if name not in known.__members__:
        raise UsageError(
            f"{model} has no weights '{name}'; known: {', '.join(known.__members__)}, or a file, or random"
        )
    return known[name]


def _downloaded(model: str, weights: Any) -> nn.Module:
    from torchvision import models

    try:
        with torch.random.fork_rng(devices=[]):
            network: nn.Module = models.get_model(model, weights=weights)
    except (OSError, RuntimeError) as error:
        raise TargetError(
            f"the weights {weights} of {model} could not be downloaded: {error}; fetch {weights.url} where there "
            "is a network and pass weights=FILE"
        ) from error
    return network


def _drop_auxiliary(network: nn.Module) -> None:
    """Take away the classifiers that GoogLeNet and Inception have for training only."""
    if getattr(network, "aux_logits", False):
        setattr(network, "aux_logits", False)  # noqa: B010 - modules declare no such attribute
        for name in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, name):
                setattr(network, name, None)
