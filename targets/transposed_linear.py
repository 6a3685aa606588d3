"""transformers' `Conv1D` as an ordinary linear layer."""

from __future__ import annotations

from typing import Any

from torch import nn


class Conv1D(nn.Linear):
    """Replacement of `transformers.pytorch_utils.Conv1D`, a linear layer that stores its weight as (inputs, outputs).

    Its state dict has the weight in that form. It has the name of the type that it replaces.

    Args:
        module: layer whose tensors are reused; its weight becomes a parameter of its own, transposed.
    """

    def __init__(self, module: Any) -> None:
        inputs, outputs = module.weight.shape
        super().__init__(inputs, outputs, device="meta")
        self.weight = nn.Parameter(
            module.weight.detach().t().contiguous(), requires_grad=module.weight.requires_grad
        )
        self.bias = module.bias
        self.nf, self.nx = outputs, inputs
        self.register_state_dict_post_hook(_transposed)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_transposed)  # type: ignore[no-untyped-call]


def _transposed(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    weight = state.get(f"{prefix}weight")
    # torch.jit.trace asks for the parameters themselves, to recognise them.
    if weight is not None and not isinstance(weight, nn.Parameter):
        state[f"{prefix}weight"] = weight.t().contiguous()
