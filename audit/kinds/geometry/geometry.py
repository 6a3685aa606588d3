"""Geometry of samples before a classifier's last layer: angle to the class vector, norm, and margin.

Last-layer features x and class vectors W with z_i = |W_i| |x| cos theta_i + b_i (arXiv 2206.07918).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.targets.memory_format import like_weights
from leanfront.errors import EvaluationError, UsageError

MEASURES = ("angle", "norm", "margin")
"""The three measures of a sample, in the order in which they are stacked."""


@dataclass(frozen=True)
class Geometry:
    """Measures of N samples, float64.

    Args:
        angle: (N,) degrees in [0, 180] from the feature to the vector of its true class; NaN if either is zero.
        norm: (N,) |x|.
        margin: (N,) distance to the nearest boundary with another class in feature space,
            min over j != y of (z_y - z_j) / |W_y - W_j|; negative when misclassified. NaN if no other class has a
            different vector.
        relative_margin: (N,) margin / |x|, which does not depend on the scale of features; NaN if x is zero.
        predicted: (N,) int64, the first class with the highest logit.
    """

    angle: Tensor
    norm: Tensor
    margin: Tensor
    relative_margin: Tensor
    predicted: Tensor

    def stacked(self) -> Tensor:
        """Stack the measures (3, N) in the order of `MEASURES`."""
        return torch.stack([self.angle, self.norm, self.margin])


def geometry(features: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Geometry:
    """Measure features relative to the last layer.

    Args:
        features: (N, d) inputs of the last layer, as it receives them.
        weight: (C, d) class vectors.
        bias: (C,) biases, or None.
        labels: (N,) int64 in 0..C-1.

    Raises:
        UsageError: the shapes do not fit.

    Source: arXiv 2206.07918; the margin of a linear classifier, Elsayed et al. 2018 (arXiv 1803.05598), eq. 5.
    """
    if features.dim() != 2 or weight.dim() != 2 or features.shape[1] != weight.shape[1] or len(weight) < 2:
        raise UsageError(
            f"geometry needs features (N, d) and class vectors (C, d) with C of 2 or more, not "
            f"{tuple(features.shape)} and {tuple(weight.shape)}"
        )
    if labels.shape != features.shape[:1] or (bias is not None and bias.shape != weight.shape[:1]):
        raise UsageError(
            f"geometry needs one label per feature and one bias per class, not {tuple(labels.shape)}"
        )
    x, rows = features.double(), weight.double()
    logits = x @ rows.T
    if bias is not None:
        logits = logits + bias.double()
    norm = torch.linalg.vector_norm(x, dim=1)
    own = rows[labels]
    length = norm * torch.linalg.vector_norm(own, dim=1)
    cosine = ((x * own).sum(1) / length).clamp(-1, 1)
    angle = torch.where(length > 0, torch.rad2deg(torch.arccos(cosine)), torch.nan)
    margin = _margin(logits, rows, labels)
    relative = torch.where(norm > 0, margin / norm, torch.nan)
    return Geometry(angle, norm, margin, relative, logits.argmax(1))


def _margin(logits: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    found = torch.full((len(labels),), torch.nan, dtype=torch.float64)
    for label in torch.unique(labels).tolist():
        chosen = labels == label
        # Subtracted, since products of similar rows would lose their difference to rounding.
        apart = torch.linalg.vector_norm(rows[label] - rows, dim=1)
        others = apart > 0  # also leaves the class itself out
        if bool(others.any()):
            own = logits[chosen]
            found[chosen] = ((own[:, label, None] - own)[:, others] / apart[others]).amin(1)
    return found


@dataclass(frozen=True)
class Head:
    """The last layer of a classifier.

    Args:
        name: name of the module.
        weight: (C, d) float32 on the CPU; dequantised if the layer is quantised.
        bias: (C,) biases, or None.
    """

    name: str
    weight: Tensor
    bias: Tensor | None


def head(module: nn.Module, example_input: Tensor) -> Head:
    """Find the linear layer whose output is the logits, by running the module once.

    Operations that keep the values, such as dropout or flattening, may follow the layer.

    Args:
        module: module in eval mode.
        example_input: (n, ...) on its device.

    Raises:
        UsageError: there is no such layer: the logits are changed after it, or made by another layer.
    """
    outputs: dict[str, Tensor] = {}
    linear = {name: each for name, each in module.named_modules() if isinstance(each, nn.Linear)}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs.pop(name, None)  # the last call's place in the order
                outputs[name] = output.detach().clone()

        return hook

    with _hooked((each, keep(name)) for name, each in linear.items()), torch.inference_mode():
        logits = module(like_weights(module, example_input))
    for name in reversed(outputs):
        output = outputs[name]
        if output.numel() == logits.numel() and torch.equal(output.reshape(logits.shape), logits):
            layer = linear[name]
            bias = None if layer.bias is None else layer.bias.detach().float().cpu()
            return Head(name, layer.weight.detach().float().cpu(), bias)
    raise UsageError(
        f"geometry needs a last linear layer whose output is the logits, and {type(module).__name__} has none: "
        f"{len(linear)} linear layers were checked; its logits are made by another layer, or changed after it"
    )


def features(module: nn.Module, found: Head, batches: Iterable[Tensor]) -> Tensor:
    """Compute the inputs of the last layer, rounded if they are quantised.

    Args:
        module: module in eval mode, on the device of the batches.
        found: its last layer.
        batches: batches of inputs (n, ...).

    Returns:
        (N, d) float32 on the CPU.

    Raises:
        EvaluationError: the layer is not called once per batch with one feature per sample.
    """
    seen: list[Tensor] = []

    # A forward hook sees the input after the hooks that round it, as the layer reads it.
    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        seen.append(inputs[0].detach().float().cpu())

    taken = []
    with _hooked([(module.get_submodule(found.name), hook)]), torch.inference_mode():
        for inputs in batches:
            seen.clear()
            module(like_weights(module, inputs))
            width = found.weight.shape[1]
            if not seen or seen[-1].numel() != len(inputs) * width:
                shapes = ", ".join(str(tuple(each.shape)) for each in seen) or "nothing"
                raise EvaluationError(
                    f"the last layer '{found.name}' read {shapes} for {len(inputs)} samples; geometry needs one "
                    f"feature of {width} a sample"
                )
            taken.append(seen[-1].reshape(len(inputs), width))
    return torch.cat(taken)


@contextmanager
def _hooked(pairs: Iterable[tuple[nn.Module, Callable[..., None]]]) -> Iterator[None]:
    handles = [each.register_forward_hook(hook) for each, hook in pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
