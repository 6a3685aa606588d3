"""Checks of a model by running it once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.errors import TargetError


def class_scores(model: nn.Module, inputs: Tensor, what: str) -> Tensor:
    """Run a model and check that its outputs are class scores.

    Args:
        model: model in eval mode.
        inputs: (n, ...).
        what: name of the inputs in messages, such as ``example_input``.

    Returns:
        (n, C) float.

    Raises:
        TargetError: the model raises (the message quotes the error and its module), or the output is not a finite
            float tensor of shape (n, C) with C >= 2.
    """
    try:
        with torch.no_grad():
            output = model(inputs)
    except Exception as error:
        raise TargetError(
            f"the model fails on {what} of shape {tuple(inputs.shape)}, {inputs.dtype}{_place(model, inputs)}: "
            f"{type(error).__name__}: {error}{_hint(error)}"
        ) from error
    if not isinstance(output, Tensor):
        raise TargetError(
            f"the model returns a {type(output).__name__}, not one tensor of class scores; wrap it in a module "
            "whose forward returns the logits alone, or under the name 'logits'"
        )
    found = f"{output.dtype} of shape {tuple(output.shape)}"
    if not output.is_floating_point() or output.ndim != 2 or len(output) != len(inputs):
        raise TargetError(
            f"the model returns {found} on {what} of shape {tuple(inputs.shape)}; a classifier returns float "
            f"scores of shape ({len(inputs)}, classes), one row a sample"
        )
    if output.shape[1] < 2:
        raise TargetError(
            f"the model returns {found}: a single score a sample; a classifier needs one score a class, at "
            "least 2 (a binary model with one logit z: return torch.cat((-z / 2, z / 2), 1))"
        )
    bad = (~torch.isfinite(output)).any(dim=1).nonzero().flatten()
    if len(bad):
        raise TargetError(
            f"the model's outputs on {what} are NaN or infinite for {len(bad)} of {len(output)} sample(s), "
            f"first {int(bad[0])}; check its weights and how the inputs are normalised"
        )
    return output


def _hint(error: Exception) -> str:
    if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
        return (
            "; this norm uses the statistics of the batch; give it track_running_stats=True and train it, or use a "
            "norm within samples (LayerNorm)"
        )
    return ""


def logits_alone(model: nn.Module, inputs: Tensor) -> nn.Module:
    """Make a model that returns `logits` as a mapping entry or attribute return the logits alone.

    Args:
        model: model in eval mode; it gets a forward hook, in place.
        inputs: (n, ...).

    Returns:
        The model, unchanged if it returns something else or fails.
    """
    try:
        with torch.no_grad():
            output = model(inputs)
    except Exception:
        return model  # the next use will report the failure
    if not isinstance(output, Tensor) and isinstance(_named_logits(output), Tensor):
        model.register_forward_hook(_return_logits)
    return model


def logits_whenever_named(model: nn.Module) -> nn.Module:
    """Make a model return the logits alone whenever it returns them by name, without running it, in place."""
    model.register_forward_hook(_return_logits)
    return model


def _named_logits(output: Any) -> Any:
    return output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)


def _return_logits(_: nn.Module, inputs: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    named = _named_logits(output)
    return output if named is None else named


def _place(model: nn.Module, inputs: Tensor) -> str:
    """Return the place where the forward pass fails, `` in layer1.0.conv1 (Conv2d)``, or "" if it is unknown."""
    names = {module: name for name, module in model.named_modules()}
    entered: list[nn.Module] = []
    handles = []
    try:
        for module in names:
            handles.append(module.register_forward_pre_hook(lambda module, _: entered.append(module)))
            handles.append(module.register_forward_hook(lambda *_: _drop_last(entered)))
        with torch.no_grad():
            model(inputs)
    except Exception:
        deepest = entered[-1] if entered else model
        path = names.get(deepest, "")
        return f" in {path} ({type(deepest).__name__})" if path else ""
    finally:
        for handle in handles:
            handle.remove()
    return ""


def _drop_last(entered: list[nn.Module]) -> None:
    entered.pop()
