"""Models that do something else in training mode: auxiliary heads, several outputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def scores_of(output: Any, shape: torch.Size) -> Tensor | None:
    """Return the class scores in a model's output: the first tensor of this shape, or None if there is none."""
    if isinstance(output, Tensor):
        return output if output.shape == shape else None
    if isinstance(output, Mapping):
        values = [output[key] for key in sorted(output, key=lambda key: key != "logits")]
    elif isinstance(output, Sequence) and not isinstance(output, str):
        values = list(output)
    else:
        return None
    return next((found for value in values if (found := scores_of(value, shape)) is not None), None)


@torch.no_grad()
def kept_in_eval(module: nn.Module, inputs: Tensor) -> tuple[str, ...]:
    """Return the modules that must stay in eval mode while the others are trained.

    Auxiliary heads are called in training mode alone, so nothing shows which of their channels are cut with others.
    If such a model fails or gives no class scores in training mode, the modules that hold layers which eval mode
    never calls stay in eval mode themselves; the modules inside them are trained.

    Args:
        module: compressed module in eval mode; it is not changed.
        inputs: (n, ...) with at least two samples.
    """
    called: set[nn.Module] = set()
    trial = copy.deepcopy(module)
    handles = [each.register_forward_pre_hook(lambda own, _: called.add(own)) for each in trial.modules()]
    shape = trial(inputs).shape
    for handle in handles:
        handle.remove()
    names = {each: name for name, each in trial.named_modules()}
    unused = [each for each in names if each not in called and any(True for _ in each.parameters())]
    if _gives_scores(trial, inputs, shape):
        return ()
    owners = {names[each].rpartition(".")[0] for each in unused}
    return tuple(sorted(owner for owner in owners if trial.get_submodule(owner) in called))


def train(module: nn.Module, kept: Sequence[str]) -> None:
    """Put a module into training mode, except the named modules themselves."""
    module.train()
    for name in kept:
        module.get_submodule(name).training = False


def _gives_scores(module: nn.Module, inputs: Tensor, shape: torch.Size) -> bool:
    try:
        with torch.random.fork_rng(devices=[]):
            return scores_of(module.train()(inputs), shape) is not None
    except Exception:
        return False
