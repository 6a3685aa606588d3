"""Refusal of modules that hold no float layers to compress, with what to pass instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from leanfront.core.targets.wrappers import full_names
from leanfront.errors import TargetError

QUANTISED = (
    "torch.ao.nn.quantized.",
    "torch.ao.nn.intrinsic.quantized.",
    "torch.ao.nn.qat.",
    "torch.ao.nn.intrinsic.qat.",
    "torch.ao.nn.sparse.quantized.",
    "torch.ao.nn.quantizable.",
    "torch.ao.quantization.observer.",
    "torch.ao.quantization.fake_quantize.",
    "torch.nn.quantized.",
    "torchao.",
    "bitsandbytes.",
    "optimum.quanto.",
    "auto_gptq.",
    "gptqmodel.",
    "awq.",
    "hqq.",
    "brevitas.",
)
"""Beginnings of the full names of modules and tensors that are quantised, or prepared for it."""
FLOAT8 = tuple(getattr(torch, name) for name in dir(torch) if name.startswith("float8_"))
SHARDED = ("torch.distributed.fsdp.", "torch.distributed._tensor.", "torch.distributed.tensor.")

_SCRIPT = (
    "is TorchScript ({kind}), whose layers cannot be changed; pass the nn.Module it was made of, with its weights: "
    "module.load_state_dict(scripted.state_dict())"
)
_EXPORTED = (
    "is a program of torch.export ({kind}), whose layers are operators now; pass the module that was exported"
)
_QUANTISED = (
    "is already quantised, or prepared for it ({kind}); pass the float module from before that, since leanfront "
    "chooses bit-widths itself"
)
_SHARDED = (
    "is sharded ({kind}); gather the whole weights into the plain module and pass that "
    "(torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True)"
)
_META = "has no values ({kind} on the meta device); load its weights first"
_LAZY = "is not initialised ({kind}); run the model once on an input before you pass it"


def _begins(value: object, beginnings: tuple[str, ...]) -> bool:
    return any(name.startswith(beginnings) for name in full_names(value))


def _of_operators(module: nn.Module) -> bool:
    """Whether a graph calls operators directly, as programs of torch.export do, rather than layers."""
    if _begins(module, ("torch.export.",)):
        return True
    return isinstance(module, torch.fx.GraphModule) and any(
        isinstance(node.target, torch._ops.OpOverload) for node in module.graph.nodes
    )


OF_MODULES: tuple[tuple[Callable[[nn.Module], bool], str], ...] = (
    (lambda module: isinstance(module, torch.jit.ScriptModule), _SCRIPT),
    (_of_operators, _EXPORTED),
    (lambda module: _begins(module, QUANTISED), _QUANTISED),
    (lambda module: _begins(module, SHARDED), _SHARDED),
)
"""Tests of a module, and what is wrong with one that passes."""

OF_TENSORS: tuple[tuple[Callable[[Tensor], bool], str], ...] = (
    (lambda tensor: isinstance(tensor, UninitializedParameter | UninitializedBuffer), _LAZY),
    (lambda tensor: _begins(tensor, SHARDED), _SHARDED),
    (lambda tensor: _begins(tensor, QUANTISED) or _begins(tensor.data, QUANTISED), _QUANTISED),
    (lambda tensor: tensor.is_quantized or tensor.dtype in FLOAT8, _QUANTISED),
    (lambda tensor: tensor.is_meta, _META),
)
"""Tests of a parameter or buffer, and what is wrong with one that passes."""


def check_supported(model: Any) -> None:
    """Check that a model is a module of float layers.

    Raises:
        TargetError: it is no module; or it, or a part of it, is TorchScript, a program of torch.export, quantised,
            sharded, without values or not initialised. The message names the part and says what to pass instead.
    """
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        if _begins(model, ("torch.export.",)):
            raise TargetError(f"the model {_EXPORTED.format(kind=kind)}")
        if isinstance(model, torch.jit.ScriptFunction):
            raise TargetError(f"the model {_SCRIPT.format(kind=kind)}")
        hint = "; load a state dict into its module first" if isinstance(model, dict) else ""
        raise TargetError(f"model is a {kind}, not a torch.nn.Module{hint}")
    for problem in _problems(model):
        raise TargetError(problem)


def _problems(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        for wrong, words in OF_MODULES:
            if wrong(module):
                yield f"{_place(name)} {words.format(kind=type(module).__name__)}"
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            for wrong_tensor, words in OF_TENSORS:
                if tensor is not None and wrong_tensor(tensor):
                    path = f"{name}.{key}" if name else key
                    yield f"the model's '{path}' {words.format(kind=_form(tensor))}"


def _place(name: str) -> str:
    return f"the model's '{name}'" if name else "the model"


def _form(tensor: Tensor) -> str:
    kinds = [type(tensor).__name__, type(tensor.data).__name__] if not tensor.is_meta else []
    plain = ("Parameter", "Tensor", "Buffer")
    own = next((kind for kind in kinds if kind not in plain), None)
    return own or str(tensor.dtype).removeprefix("torch.")
