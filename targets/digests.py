"""Digests of the parts of a target, by which `differences` says what differs between two of them."""

from __future__ import annotations

import hashlib
from typing import Protocol

from torch import Tensor, nn

from leanfront.core.targets.differences import Digests
from leanfront.core.targets.split import Split
from leanfront.core.targets.weights_cache import raw_bytes

LENGTH = 16
"""Hexadecimal digits of a digest. They tell parts apart; the fingerprint identifies the target."""


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, tied ones under every name."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


class Parts(Protocol):
    """The parts of a target that are digested."""

    @property
    def model(self) -> nn.Module: ...
    @property
    def example_input(self) -> Tensor: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def task(self) -> str: ...
    @property
    def splits(self) -> dict[str, Split]: ...


def digests_of(target: Parts) -> Digests:
    """Return the digests of a target's parts, which are those that its fingerprint covers."""
    tensors = sorted(tensors_of(target.model).items())
    modules = [(name, type(module).__qualname__) for name, module in target.model.named_modules()]
    shapes = [(name, str(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors]
    weights = hashlib.sha256()
    for _, tensor in tensors:
        weights.update(raw_bytes(tensor))
    example = target.example_input
    return {
        "model": _digest(repr((modules, shapes)).encode()),
        "weights": weights.hexdigest()[:LENGTH],
        "classes": _digest(repr((target.task, target.classes)).encode()),
        "inputs": _digest(repr((str(example.dtype), tuple(example.shape))).encode()),
        **{name: _of_split(split) for name, split in target.splits.items()},
    }


def _of_split(split: Split) -> str:
    labels = _digest(raw_bytes(split.labels))
    # Training inputs may be augmented differently in every pass.
    inputs = "-" if split.name == "train" else split.digest[:LENGTH]
    return f"{len(split)}:{labels}:{inputs}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:LENGTH]
