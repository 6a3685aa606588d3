"""A model of one's own: a copy that nobody else holds."""

from __future__ import annotations

import copy

from torch import nn

from leanfront.core.targets.attention import open_attention
from leanfront.errors import TargetError


def private_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode on the CPU, floating parameters as float32, attention with heads that can be cut.

    Raises:
        TargetError: the model cannot be copied.
    """
    try:
        return open_attention(copy.deepcopy(model).cpu().float().eval())
    except Exception as error:
        raise TargetError(
            f"the model cannot be copied: {type(error).__name__}: {error}; drop what is not a parameter, buffer "
            "or submodule (stored activations, open files, locks)"
        ) from error
