"""Wrappers around models: modules that only run, average or compile another one."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

WRAPPERS = {
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.optim.swa_utils.AveragedModel": "module",
    "timm.utils.model_ema.ModelEma": "ema",
    "timm.utils.model_ema.ModelEmaV2": "module",
    "timm.utils.model_ema.ModelEmaV3": "module",
    "ema_pytorch.ema_pytorch.EMA": "ema_model",
    "lightning.fabric.wrappers._FabricModule": "module",
    "lightning_fabric.wrappers._FabricModule": "module",
    "apex.parallel.distributed.DistributedDataParallel": "module",
    "deepspeed.runtime.engine.DeepSpeedEngine": "module",
}
"""Full name of a wrapper's type, or of one that it inherits from -> attribute that holds the model."""


def full_names(value: object) -> list[str]:
    """Return the full names of an object's type and of the types that it inherits from."""
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(value).__mro__]


def unwrapped(model: Any) -> Any:
    """Return the model inside known wrappers, however many; another object unchanged.

    Args:
        model: module, or an object that holds one, such as timm's ``ModelEma``. It is not changed.
    """
    while True:
        attribute = next((WRAPPERS[name] for name in full_names(model) if name in WRAPPERS), None)
        inner = None if attribute is None else getattr(model, attribute, None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def unwrapping(model: nn.Module) -> dict[int, nn.Module]:
    """Return, for a `copy.deepcopy` of a model, what takes the place of the wrappers inside it: id -> module."""
    return {id(module): inner for module in model.modules() if (inner := unwrapped(module)) is not module}


def passed_through(model: nn.Module, inputs: Tensor) -> str | None:
    """Return the name of the only child of a module that does nothing but call it, or None.

    The proof is one run: the child gets the very tensor that the module gets, and nothing else, and its output is the
    module's.

    Args:
        model: module; it is not changed.
        inputs: (n, ...).
    """
    children = [name for name, child in model.named_children() if any(True for _ in child.parameters())]
    own = [*model.named_parameters(recurse=False), *model.named_buffers(recurse=False)]
    if len(children) != 1 or own or model._forward_hooks or model._forward_pre_hooks:
        return None
    (name,) = children
    calls: list[tuple[Any, Any, Any]] = []
    shell, child = copy.copy(model), copy.deepcopy(model.get_submodule(name)).cpu().float().eval()
    child.register_forward_hook(
        lambda _, args, kwargs, out: calls.append((args, kwargs, out)), with_kwargs=True
    )
    shell.__dict__["_modules"] = {**model._modules, name: child}
    shell.__dict__["training"] = False
    try:
        with torch.no_grad():
            output = shell(inputs)
    except Exception:
        return None
    if len(calls) != 1:
        return None
    args, kwargs, found = calls[0]
    alone = len(args) == 1 and args[0] is inputs and not kwargs
    return name if alone and found is output else None
