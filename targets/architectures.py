"""Built-in networks without data or weights, by the names stored in artifacts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leanfront.core.targets import cifar_resnet, digits, torchvision_models
from leanfront.core.targets.builtin import DEPTHS
from leanfront.core.targets.target import Target
from leanfront.errors import TargetError

_NAME = re.compile(r"(?P<head>[^:?]+)(:(?P<model>[^?]*))?(\?(?P<options>.*))?", re.DOTALL)
_OPTION = re.compile(r"(?P<key>classes|transform_input)=(?P<value>[1-9][0-9]{0,4})")


@dataclass(frozen=True)
class Architecture:
    """A built-in network.

    Args:
        build: function (model after the colon or "", number of classes) -> network with arbitrary weights.
        input_shape: shape of one input.
        classes: default number of classes.
    """

    build: Callable[[str, int], nn.Module]
    input_shape: tuple[int, ...]
    classes: int


def _digits(_: str, classes: int) -> nn.Module:
    if classes != 10:
        raise TargetError(f"the network of 'digits' tells 10 classes apart, not {classes}")
    return digits.DigitsNet()


def _cifar(depth: int) -> Callable[[str, int], nn.Module]:
    return lambda _, classes: cifar_resnet.CifarResNet(depth, classes)


ARCHITECTURES: dict[str, Architecture] = {
    "digits": Architecture(_digits, (1, 8, 8), 10),
    **{
        f"cifar10-resnet{depth}": Architecture(_cifar(depth), (3, cifar_resnet.SIZE, cifar_resnet.SIZE), 10)
        for depth in DEPTHS
    },
    "torchvision:<model>": Architecture(
        torchvision_models.architecture, (3, torchvision_models.SIZE, torchvision_models.SIZE), 1000
    ),
}
"""Name of a built-in target, as in `leanfront.core.targets.builtin.BUILTINS` -> its network."""


def architecture_name(target: Target) -> str:
    """Return the architecture name stored in artifacts of a target: its name and the options of its network.

    For example ``torchvision:resnet18?classes=10``. It is short, since small devices store it too.
    """
    name = target.name or ""
    found = _find(name)
    if found is None:
        return name
    options = []
    if len(target.classes) != found[0].classes:
        options.append(f"classes={len(target.classes)}")
    if getattr(target.model, "transform_input", False):
        # Torchvision sets it only with its own weights.
        options.append("transform_input=1")
    return f"{name}?{'&'.join(options)}" if options else name


def architecture(name: str) -> tuple[nn.Module, Tensor] | None:
    """Return a built-in network with random weights, and an example input (1, ...).

    Args:
        name: name from `architecture_name`.

    Returns:
        Network and input; None if the name is not that of a built-in network, or has unknown options.

    Raises:
        TargetError: the network cannot have this number of classes.
        UsageError: torchvision has no such model.
    """
    found = _find(name)
    if found is None:
        return None
    known, model, text = found
    options: dict[str, int] = {}
    for item in text.split("&") if text else ():
        option = _OPTION.fullmatch(item)
        if option is None:
            return None
        options[option["key"]] = int(option["value"])
    with torch.random.fork_rng(devices=[]):
        network = known.build(model, options.get("classes", known.classes))
    if "transform_input" in options:
        setattr(network, "transform_input", True)  # noqa: B010 - modules declare no such attribute
    return network.eval(), torch.zeros(1, *known.input_shape)


def _find(name: str) -> tuple[Architecture, str, str] | None:
    """Return the network of a name, the model after the colon, and the options as written."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    model = match["model"]
    known = ARCHITECTURES.get(match["head"] if model is None else f"{match['head']}:<model>")
    return None if known is None else (known, model or "", match["options"] or "")
