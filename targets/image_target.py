"""Targets of the built-in image classifiers: what they share once network and data are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from leanfront.core.targets.augmentation import CropAndFlip
from leanfront.core.targets.builtin import TORCHVISION_EPOCHS, TORCHVISION_OPTIONS
from leanfront.core.targets.image_file import MAX_PIXELS
from leanfront.core.targets.images import ImageArchive
from leanfront.core.targets.option_values import training_device, whole
from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.split import Split
from leanfront.core.targets.target import Target
from leanfront.core.targets.training_from_scratch import Recipe, ScratchTraining
from leanfront.errors import TargetError

RATE, RATE_WITHOUT_NORM = 0.05, 0.01
"""Learning rates for training from scratch: networks without batch norm diverge at the usual rate."""
WEIGHT_DECAY = 1e-4


def image_target(
    name: str,
    network: nn.Module,
    data: tuple[Mapping[str, Split], Sequence[str], Sequence[str]],
    pixels: Pixels | None,
    fresh: Callable[[], nn.Module],
    recipe: Recipe,
    device: str,
) -> Target:
    """Create the target of an image classifier. If there is a train split, it can be trained from scratch.

    Args:
        name: name for display.
        network: trained network, float32 images (n, 3, h, w) to scores (n, C).
        data: splits by name, C class names, and sentences about cuts; see `tree_splits`.
        pixels: normalisation of the images.
        fresh: function that returns the network with random weights; its text identifies it.
        recipe: training from scratch, with random shifts of up to an eighth of the image and flips.
        device: device of that training; "" for CUDA if available.
    """
    splits, classes, cuts = data
    shape, train = splits["validation"].sample_shape, splits.get("train")
    augment = CropAndFlip(min(shape[1:]) // 8)
    retrain = None if train is None else ScratchTraining(fresh, train, recipe, augment, device)
    return Target(
        model=network,
        example_input=torch.zeros(1, *shape),
        classes=classes,
        name=name,
        augment=augment,
        cuts=cuts,
        pixels=pixels,
        retrain=retrain,
        validation=splits["validation"],
        calibration=splits.get("calibration"),
        test=splits.get("test"),
        train=train,
    )


@dataclass(frozen=True)
class ImageOptions:
    """Options that all image classifiers of a library have.

    Args:
        archive: images.
        weights: as typed; ``DEFAULT`` if not given.
        size: side of the input in pixels, or None.
        seed: seed of random weights.
        epochs: epochs of training from scratch.
        device: device of that training; "" for CUDA if available.
    """

    archive: ImageArchive
    weights: str
    size: int | None
    seed: int
    epochs: int
    device: str

    @classmethod
    def read(cls, reference: str, options: Mapping[str, str]) -> ImageOptions:
        """Read the options of a target.

        Args:
            reference: reference without options, for messages.
            options: see `builtin.TORCHVISION_OPTIONS`.

        Raises:
            UsageError: an invalid number.
            TargetError: no data, or they cannot be read.
        """
        if not options.get("data"):
            raise TargetError(
                f"{reference} needs data: write '{reference}?data=FOLDER' ({TORCHVISION_OPTIONS['data']})"
            )
        size, seed = whole(reference, options, "size", 1), whole(reference, options, "seed", 0) or 0
        epochs = whole(reference, options, "epochs", 1) or TORCHVISION_EPOCHS
        device = training_device(reference, options)
        archive = ImageArchive(options["data"], whole(reference, options, "max_pixels", 1) or MAX_PIXELS)
        return cls(archive, options.get("weights") or "DEFAULT", size, seed, epochs, device)


def usual_recipe(network: nn.Module, epochs: int) -> Recipe:
    """Return the training of convolutional networks on a user's own images: SGD with a cosine schedule."""
    norms = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    return Recipe(epochs, learning_rate=RATE if norms else RATE_WITHOUT_NORM, weight_decay=WEIGHT_DECAY)
