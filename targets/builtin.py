"""The registry of built-in targets: what each is and takes, and where the function is that builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leanfront.deferred import Deferred

if TYPE_CHECKING:
    from leanfront.core.targets.target import Target

DEPTHS = (20, 32, 44, 56)
"""Of the CIFAR-10 ResNets."""
CIFAR_RESNET_EPOCHS, TORCHVISION_EPOCHS = 60, 90
"""That one trained anew is trained for, unless its reference says otherwise."""
RETRAINING = {
    "epochs": "passes over train when it is trained anew for a population, default {epochs}",
    "device": "where that is done: cpu, cuda, cuda:1; default cuda where there is one",
}
"""Options of the targets that can be trained anew."""
DIGITS_OPTIONS = {"seed": "seed of the training, default 0; the splits stay the same"}
CIFAR_RESNET_OPTIONS = {
    "data": "folder or zip of images as train|validation|test/<class>/<image>, or cifar10:FOLDER",
    "weights": "safetensors or state-dict file",
    "download": "1 to let torchvision download CIFAR-10 into cifar10:FOLDER",
    "epochs": RETRAINING["epochs"].format(epochs=CIFAR_RESNET_EPOCHS),
    "device": RETRAINING["device"],
}
TORCHVISION_OPTIONS = {
    "data": "folder or zip of images as validation|test|train/<class>/<image>",
    "weights": "state-dict or safetensors file, DEFAULT, the name of a set of torchvision's weights, or random",
    "size": "side of the square input in pixels, default 224 or what the weights were made for",
    "seed": "seed of random weights, default 0",
    "epochs": RETRAINING["epochs"].format(epochs=TORCHVISION_EPOCHS),
    "device": RETRAINING["device"],
}


@dataclass(frozen=True)
class Builtin:
    """A target that comes with leanfront.

    Args:
        name: as typed; one that ends in ``:<model>`` takes what is typed behind the colon.
        description: one line.
        options: option -> what it means.
        build: (what stands for ``<model>``, else the name itself; options) -> target.
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
    )
}
"""Name -> built-in target. A new one is an entry here, and a function."""
