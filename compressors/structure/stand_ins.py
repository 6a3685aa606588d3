"""What the dependency graph sees in the place of modules that it would misread.

The graph follows channels through operators. Through attention's reshapes it follows them in circles, and a channel
shuffle stops it. While it is built such modules run simpler forward functions which couple the same channels;
whatever these get wrong, the proofs refute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.targets.attention import HeadAttention, SelfAttention


def _attend(module: HeadAttention, x: Tensor) -> Tensor:
    """Query, key and value of a token alone: the features of each go together."""
    query, key, value = module.get_submodule(module.enters)(x).chunk(3, dim=-1)
    output: Tensor = module.get_submodule(module.leaves)(query + key + value)
    return output


def _attend_to(
    module: SelfAttention, query: Tensor, key: Tensor, value: Tensor, *_: Any, **options: Any
) -> tuple[Tensor, Tensor | None]:
    x = query
    for other in (key, value):
        if other is not query:
            # The in-projection reads it, too.
            x = x + other.mean(tuple(range(other.dim() - 1)), keepdim=True)
    output = _attend(module, x)
    return output, output.detach() if options.get("need_weights", True) else None


def _unshuffled(module: Any, x: Tensor) -> Tensor:
    """ShuffleNet's block; the shuffled channels are refuted later, those inside its branches are not."""
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
    """Modules of known types run their stand-ins meanwhile.

    Args:
        model: others must not use it meanwhile.
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
