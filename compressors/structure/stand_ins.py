"""Simpler forward functions for modules that the dependency graph would misread.

The graph follows channels through operators. Attention's reshapes lead it in circles, and a channel shuffle stops
it. While the graph is built, such modules run simpler functions that couple the same channels. The proofs refute
wrong groups that result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.targets.attention import HeadAttention, SelfAttention


def _attend(module: HeadAttention, x: Tensor) -> Tensor:
    """Attention of each token to itself, which couples the features of query, key and value."""
    query, key, value = module.get_submodule(module.enters)(x).chunk(3, dim=-1)
    output: Tensor = module.get_submodule(module.leaves)(query + key + value)
    return output


def _attend_to(
    module: SelfAttention, query: Tensor, key: Tensor, value: Tensor, *_: Any, **options: Any
) -> tuple[Tensor, Tensor | None]:
    x = query
    for other in (key, value):
        if other is not query:
            # The in-projection also reads it.
            x = x + other.mean(tuple(range(other.dim() - 1)), keepdim=True)
    output = _attend(module, x)
    return output, output.detach() if options.get("need_weights", True) else None


def _unshuffled(module: Any, x: Tensor) -> Tensor:
    """ShuffleNet's block without shuffle; proofs refute groups of shuffled channels, not those inside branches."""
    if module.stride == 1:
        left, right = x.chunk(2, dim=1)
        return torch.cat((left, module.branch2(right)), dim=1)
    return torch.cat((module.branch1(x), module.branch2(x)), dim=1)


STAND_INS: dict[str, Callable[..., Any]] = {
    "leanfront.core.targets.attention.SelfAttention": _attend_to,
    "leanfront.core.targets.attention.WindowAttention": _attend,
    "leanfront.core.targets.attention.RelativeAttention": _attend,
    "torchvision.models.shufflenetv2.InvertedResidual": _unshuffled,
}
"""Full name of a module's type -> its forward function for the graph."""


@contextmanager
def standing_in(model: nn.Module) -> Iterator[None]:
    """Let modules of known types run their stand-ins within the context.

    Args:
        model: the model; nothing else may use it within the context.
    """
    replaced = []
    for module in model.modules():
        kind = type(module)
        stand_in = STAND_INS.get(f"{kind.__module__}.{kind.__qualname__}")
        if stand_in is not None:
            vars(module)["forward"] = stand_in.__get__(module)
            replaced.append(module)
    try:
        yield
    finally:
        for module in replaced:
            del vars(module)["forward"]
