"""Registry of built-in targets: descriptions, options, and places of the functions that build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leanfront.deferred import Deferred

if TYPE_CHECKING:
    from leanfront.core.targets.target import Target

DEPTHS = (20, 32, 44, 56)
"""Depths of the CIFAR-10 ResNets."""
CIFAR_RESNET_EPOCHS, TORCHVISION_EPOCHS = 60, 90
"""Default numbers of epochs of training from scratch: with CIFAR-10's own files a third of the 64,000 steps of He et
al.; for torchvision its own number for ResNets."""
RETRAINING = {
    "epochs": "epochs of training from scratch for a population, default {epochs}",
    "device": "device of that training: cpu, cuda or cuda:1; default cuda if available",
}
"""Options of targets that can be trained from scratch."""
MAX_PIXELS_OPTION = {"max_pixels": "largest number of pixels of an image of data, default 178956970"}
"""Option of targets that decode images."""
DIGITS_OPTIONS = {"seed": "seed of the training, default 0; the splits stay the same"}
CIFAR_RESNET_OPTIONS = {
    "data": "folder or zip of images as train|validation|test/<class>/<image>, or cifar10:FOLDER",
    **MAX_PIXELS_OPTION,
    "weights": "safetensors or state-dict file",
    "download": "1 to let torchvision download CIFAR-10 into cifar10:FOLDER",
    "epochs": RETRAINING["epochs"].format(epochs=CIFAR_RESNET_EPOCHS),
    "device": RETRAINING["device"],
}
TORCHVISION_OPTIONS = {
    "data": "folder or zip of images as validation|test|train/<class>/<image>",
    **MAX_PIXELS_OPTION,
    "weights": "state-dict or safetensors file, DEFAULT, the name of a set of torchvision's weights, or random",
    "size": "side of the square input in pixels, default 224 or the size of the published weights",
    "seed": "seed of random weights, default 0",
    "epochs": RETRAINING["epochs"].format(epochs=TORCHVISION_EPOCHS),
    "device": RETRAINING["device"],
}

TIMM_OPTIONS = {
    **TORCHVISION_OPTIONS,
    "weights": "state-dict or safetensors file, DEFAULT (timm's own from the Hugging Face hub), or random",
    "size": "side of the square input in pixels, by default the model's own",
}
TRANSFORMERS_OPTIONS = {
    "data": "images: folder or zip as validation|test|train/<class>/<image>; text: folder with validation|test|train "
    "as .csv, .tsv or .jsonl",
    **MAX_PIXELS_OPTION,
    "text": "column of the text, default text",
    "pair": "column of a second text, default none",
    "label": "column of the label, default label: a name or number of a class",
    "length": "number of tokens to which texts are cut and padded, default 128",
}


@dataclass(frozen=True)
class Builtin:
    """A target that comes with leanfront.

    Args:
        name: name, as typed; if it ends in ``:<model>``, any model can follow the colon.
        description: one line.
        options: option -> its meaning.
        build: function (model after the colon, or else the name; options) -> target.
    """

    name: str
    description: str
    options: Mapping[str, str]
    build: Callable[[str, Mapping[str, str]], Target]


BUILTINS: dict[str, Builtin] = {
    builtin.name: builtin
    for builtin in (
        Builtin(
            "digits",
            "handwritten digits (8 x 8, scikit-learn) and a small residual CNN trained on the spot",
            DIGITS_OPTIONS,
            Deferred("leanfront.core.targets.digits:build"),
        ),
        *(
            Builtin(
                f"cifar10-resnet{depth}",
                f"ResNet-{depth} for CIFAR-10 (He et al. 2015): needs data= and weights=",
                CIFAR_RESNET_OPTIONS,
                Deferred("leanfront.core.targets.cifar_resnet:build"),
            )
            for depth in DEPTHS
        ),
        Builtin(
            "torchvision:<model>",
            "any classification model of torchvision on a tree of images: needs data=",
            TORCHVISION_OPTIONS,
            Deferred("leanfront.core.targets.torchvision_models:build"),
        ),
        Builtin(
            "timm:<model>",
            "any image classifier of timm on a tree of images: needs data= and leanfront[timm]",
            TIMM_OPTIONS,
            Deferred("leanfront.core.targets.timm_models:build"),
        ),
        Builtin(
            "transformers:<model>",
            "an image or sequence classifier of transformers, from a folder or the hub: needs data= and "
            "leanfront[transformers]",
            TRANSFORMERS_OPTIONS,
            Deferred("leanfront.core.targets.transformers_models:build"),
        ),
    )
}
"""Built-in targets by name. To add one, write a function and an entry here."""
