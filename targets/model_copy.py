"""Private copies of models."""

from __future__ import annotations

import copy

from torch import nn

from leanfront.core.targets.attention import open_attention
from leanfront.core.targets.memory_format import contiguous
from leanfront.errors import TargetError


def private_copy(model: nn.Module) -> nn.Module:
    """Copy a model to the CPU in eval mode, with float32 parameters and attention with heads that can be cut.

    Raises:
        TargetError: the model cannot be copied.
    """
    try:
        return open_attention(contiguous(copy.deepcopy(model).cpu().float().eval()))
    except Exception as error:
        raise TargetError(
            f"the model cannot be copied: {type(error).__name__}: {error}; remove attributes that are not "
            "parameters, buffers or submodules (stored activations, open files, locks)"
        ) from error
