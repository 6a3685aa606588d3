"""Built-in targets ``timm:<model>``: timm's image classifiers with their own preprocessing on a tree of images."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from leanfront.core.targets.cifar_resnet import tree_splits
from leanfront.core.targets.image_target import ImageOptions, image_target, usual_recipe
from leanfront.core.targets.images import ImageArchive
from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.target import Target
from leanfront.core.targets.torchvision_models import CALIBRATION_SAMPLES, is_file
from leanfront.core.targets.weights import load_weights
from leanfront.errors import TargetError, UsageError

PUBLISHED = "model.safetensors"
"""File of a model's weights on the Hugging Face hub."""


def build(model: str, options: Mapping[str, str]) -> Target:
    """Build the target ``timm:<model>``. If there is a train split, it can be trained from scratch as torchvision's.

    Args:
        model: name of one of timm's models, with or without the tag of its weights (``resnet18.a1_in1k``).
        options: see `builtin.TIMM_OPTIONS`.

    Raises:
        UsageError: timm is not installed, an unknown model, or an invalid number.
        TargetError: no data, weights that do not fit, or a failed download.
    """
    timm = _timm()
    _check_name(timm, model)
    reference = f"timm:{model}"
    asked = ImageOptions.read(reference, options)
    archive, chosen, size = asked.archive, asked.weights, asked.size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.seed)
        network = untrained(model, len(archive.classes), size)
    config = timm.data.resolve_model_data_config(network)
    if size is not None:
        config["input_size"] = (config["input_size"][0], size, size)
    if chosen != "random":
        load_weights(network, chosen if is_file(chosen) else _published(network, reference, chosen, archive))
    data = tree_splits(archive, timm.data.create_transform(**config, is_training=False), CALIBRATION_SAMPLES)
    fresh = partial(untrained, model, len(archive.classes), size)
    pixels = Pixels(tuple(config["mean"]), tuple(config["std"]))
    return image_target(
        reference, network, data, pixels, fresh, usual_recipe(network, asked.epochs), asked.device
    )


def untrained(model: str, classes: int, size: int | None = None) -> nn.Module:
    """Return one of timm's models with random weights from torch's global generator.

    Args:
        model: its name.
        classes: number of classes.
        size: side of the input in pixels; by default the model's own.

    Raises:
        TargetError: timm cannot make it so.
    """
    timm = _timm()
    sized = {} if size is None else {"img_size": size}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                network: nn.Module = timm.create_model(model, pretrained=False, num_classes=classes, **sized)
            except TypeError:  # convolutional networks take inputs of any size
                network = timm.create_model(model, pretrained=False, num_classes=classes)
    except Exception as error:
        raise TargetError(f"timm:{model} cannot be made: {type(error).__name__}: {error}") from error
    return network


def _timm() -> Any:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise UsageError("timm:<model> needs timm: pip install 'leanfront[timm]'") from error
    return timm


def _check_name(timm: Any, model: str) -> None:
    if timm.is_model(model):
        return
    close = difflib.get_close_matches(model, timm.list_models(), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists all"
    raise UsageError(f"timm has no model '{model}'; {hint}")


def _published(network: nn.Module, reference: str, name: str, archive: ImageArchive) -> str:
    """Download the weights that timm publishes for a model, as safetensors, and return the file."""
    if name != "DEFAULT":
        raise UsageError(f"{reference} has no weights '{name}'; give a file, DEFAULT or random")
    config: Mapping[str, Any] = network.pretrained_cfg or {}  # type: ignore[assignment]
    place = config.get("hf_hub_id")
    if not place:
        raise TargetError(f"timm publishes no weights of {reference}; give weights=FILE or weights=random")
    if config["num_classes"] != len(archive.classes):
        raise TargetError(
            f"the published weights of {reference} tell {config['num_classes']:,} classes apart, but "
            f"'{archive.path}' has {len(archive.classes):,}; give all class folders (ImageNet's, by their wnid), or "
            "weights=FILE of a model trained on your classes"
        )
    try:
        from huggingface_hub import hf_hub_download

        path: str = hf_hub_download(place, PUBLISHED)
    except Exception as error:  # of the network, of the hub, and of its client
        raise TargetError(
            f"the weights of {reference} could not be downloaded from {place}: {error}; fetch {PUBLISHED} where "
            "there is a network and pass weights=FILE"
        ) from error
    return path
