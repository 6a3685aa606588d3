"""Built-in targets ``torchvision:<model>``: torchvision's classification models on a tree of images."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from leanfront.core.targets.cifar_resnet import tree_splits
from leanfront.core.targets.image_file import MAX_PIXELS
from leanfront.core.targets.image_target import ImageOptions, image_target, usual_recipe
from leanfront.core.targets.images import PixelTransform
from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.target import Target
from leanfront.core.targets.weights import load_weights
from leanfront.errors import TargetError, UsageError

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SIZE = 224
RESIZE = 256 / 224
"""Ratio of the shorter side of the resized image to the side of the centre crop, as usual for ImageNet."""
CALIBRATION_SAMPLES = 512


class CentreCrop:
    """Transform from a PIL image to float32 (3, size, size): shorter side resized, centre cropped, normalised.

    Args:
        size: side of the crop in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.resize = round(size * RESIZE)
        self._pixels = PixelTransform(size, MEAN, STD)

    def __call__(self, image: Image.Image) -> Tensor:
        short = min(image.size)
        # Truncated like torchvision's Resize, so that both give the same crop.
        width, height = (self.resize * side // short for side in image.size)
        if width * height > MAX_PIXELS:
            raise ValueError(f"it is too narrow: resized it would have {width:,} x {height:,} pixels")
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return self._pixels(image.crop((left, top, left + self.size, top + self.size)))

    def __repr__(self) -> str:
        return f"CentreCrop(size={self.size}, resize={self.resize})"


def build(model: str, options: Mapping[str, str]) -> Target:
    """Build the target ``torchvision:<model>``.

    If there is a train split, the target can be trained from scratch: SGD with Nesterov momentum 0.9, a short warm-up
    and a cosine schedule, weight decay 1e-4, batches of 128, random crops (shifts of up to an eighth) and flips. This
    recipe is meant for convolutional networks on a user's own data: for ResNet-18, 90 epochs of 10,000 images of
    224 x 224 take 10^16 floating-point operations, which is minutes on a data-centre GPU and days on a few CPU cores;
    ImageNet takes a hundred times as much. Above 2 GiB of inputs (3,500 of this size) all images are decoded again in
    every epoch. Transformers learn little from such a short recipe: give them their own `retrain`.

    Args:
        model: name of one of torchvision's classification models.
        options: see `builtin.TORCHVISION_OPTIONS`.

    Raises:
        UsageError: an unknown model or weights, or an invalid number.
        TargetError: no data, weights that do not fit, or a failed download.
    """
    _check_name(model)
    reference = f"torchvision:{model}"
    asked = ImageOptions.read(reference, options)
    archive, chosen, size = asked.archive, asked.weights, asked.size
    transform: Any = CentreCrop(size or SIZE)
    pixels = Pixels(MEAN, STD)
    if chosen == "random":
        network = _fresh(model, len(archive.classes), asked.seed)
    elif is_file(chosen):
        network = _fresh(model, len(archive.classes), asked.seed)
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
            pixels = Pixels(transform.mean, transform.std)
    _drop_auxiliary(network)
    data = tree_splits(archive, transform, CALIBRATION_SAMPLES)
    fresh = partial(_untrained, model, len(data[1]), bool(getattr(network, "transform_input", False)))
    return image_target(
        reference, network, data, pixels, fresh, usual_recipe(network, asked.epochs), asked.device
    )


def architecture(model: str, classes: int) -> nn.Module:
    """Return one of torchvision's classification models with random weights, as `build` does.

    Raises:
        UsageError: an unknown model.
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


def is_file(weights: str) -> bool:
    """Whether an option names a file of weights, and not a set of published ones."""
    return Path(weights).exists() or "/" in weights or Path(weights).suffix in (".safetensors", ".pt", ".pth")


def _fresh(model: str, classes: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _initialised(model, classes)


def _untrained(model: str, classes: int, transform_input: bool) -> nn.Module:
    """Return the network in the form that is compressed, with random weights from torch's global generator."""
    network = _initialised(model, classes)
    _drop_auxiliary(network)
    if transform_input:
        # Torchvision sets it only with its own weights.
        setattr(network, "transform_input", True)  # noqa: B010 - modules declare no such attribute
    return network


def _initialised(model: str, classes: int) -> nn.Module:
    from torchvision import models

    with warnings.catch_warnings():
        # GoogLeNet and Inception warn of a future change of their initialisation.
        warnings.simplefilter("ignore", FutureWarning)
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
    """Remove the auxiliary classifiers that GoogLeNet and Inception use only in training."""
    if getattr(network, "aux_logits", False):
        setattr(network, "aux_logits", False)  # noqa: B010 - modules declare no such attribute
        for name in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, name):
                setattr(network, name, None)
