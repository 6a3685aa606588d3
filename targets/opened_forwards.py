"""Forward functions for attention of timm that takes the width of its heads from its input.

Such a module reshapes its heads' outputs to the width of its input, so it breaks when a head is cut. The functions
here compute the same from the numbers of heads and features. They replace only the forward: layers, tensors, names
and the type's name stay.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

STALE = "B, N, C = x.shape"
"""Text of the forward functions that can be replaced; another release of the library may have mended them."""


def _fused(module: Any, x: Tensor) -> Tensor:
    """Return queries, keys and values in one tensor (n, tokens, 3 x heads x features)."""
    if module.q_bias is None:
        qkv: Tensor = module.qkv(x)
        return qkv
    bias = torch.cat((module.q_bias, module.k_bias, module.v_bias))
    if module.qkv_bias_separate:
        separate: Tensor = module.qkv(x) + bias
        return separate
    return functional.linear(x, module.qkv.weight, bias)


def _split(x: Tensor, heads: int) -> Tensor:
    """Map (n, tokens, heads x features) to (n, heads, tokens, features)."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def _projected(module: Any, x: Tensor) -> Tensor:
    """Map the heads' outputs (n, heads, tokens, features) to (n, tokens, width)."""
    output: Tensor = module.proj_drop(module.proj(x.transpose(1, 2).flatten(2)))
    return output


def _dropout(module: Any) -> float:
    return float(module.attn_drop.p) if module.training else 0.0


def beit(module: Any, x: Tensor, shared_rel_pos_bias: Tensor | None = None) -> Tensor:
    """Attention of BEiT."""
    q, k, v = (_split(each, module.num_heads) for each in _fused(module, x).chunk(3, dim=-1))
    bias = shared_rel_pos_bias
    if module.relative_position_bias_table is not None:
        own = module._get_rel_pos_bias()
        bias = own if bias is None else own + bias
    mixed = functional.scaled_dot_product_attention(q, k, v, bias, _dropout(module), scale=module.scale)
    return _projected(module, mixed)


def eva(
    module: Any,
    x: Tensor,
    rope: Tensor | None = None,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """Attention of EVA and EVA-02."""
    gate = None if module.gate is None else module.gate(x).sigmoid()
    if module.qkv is not None:
        q, k, v = (_split(each, module.num_heads) for each in _fused(module, x).chunk(3, dim=-1))
    else:
        layers = (module.q_proj, module.k_proj, module.v_proj)
        q, k, v = (_split(layer(x), module.num_heads) for layer in layers)
    q, k = module.q_norm(q), module.k_norm(k)
    if rope is not None:
        rotate = vars(type(module))["_opened_from"].forward.__globals__["apply_rot_embed_cat"]
        first, half = module.num_prefix_tokens, getattr(module, "rotate_half", False)
        q, k = (
            torch.cat([each[:, :, :first], rotate(each[:, :, first:], rope, half=half)], dim=2).type_as(v)
            for each in (q, k)
        )
    mixed = functional.scaled_dot_product_attention(
        q, k, v, attn_mask, _dropout(module), is_causal, scale=module.scale
    )
    mixed = module.norm(mixed.transpose(1, 2).flatten(2))
    output: Tensor = module.proj_drop(module.proj(mixed if gate is None else mixed * gate))
    return output


def cross_covariance(module: Any, x: Tensor) -> Tensor:
    """Cross-covariance attention of XCiT, between the features of a head."""
    q, k, v = (_split(each, module.num_heads).transpose(-2, -1) for each in module.qkv(x).chunk(3, dim=-1))
    q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
    scores = module.attn_drop(((q @ k.transpose(-2, -1)) * module.temperature).softmax(dim=-1))
    return _projected(module, (scores @ v).transpose(-2, -1))


def class_attention(module: Any, x: Tensor) -> Tensor:
    """Attention of the class token to all tokens, in CaiT and XCiT."""
    q, k, v = (_split(each, module.num_heads) for each in (module.q(x[:, :1]), module.k(x), module.v(x)))
    return _projected(module, functional.scaled_dot_product_attention(q, k, v, None, _dropout(module)))


FORWARDS: Mapping[str, Callable[..., Tensor]] = {
    "timm.models.beit.Attention": beit,
    "timm.models.eva.EvaAttention": eva,
    "timm.models.xcit.XCA": cross_covariance,
    "timm.models.cait.ClassAttn": class_attention,
}
"""Full name of a type -> the forward function that replaces its own."""

_CLASSES: dict[type[nn.Module], type[nn.Module]] = {}


def open_forward(module: nn.Module) -> None:
    """Replace the forward function of a module of a known type, in place."""
    kind = type(module)
    known = f"{kind.__module__}.{kind.__qualname__}" in FORWARDS and "_opened_from" not in vars(kind)
    if known and STALE in inspect.getsource(kind.forward):
        module.__class__ = _opened(kind)


def _opened(kind: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass with the name of its parent, which is part of a target's fingerprint."""
    if kind in _CLASSES:
        return _CLASSES[kind]
    name = f"{kind.__module__}.{kind.__qualname__}"
    contents = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__reduce_ex__": _reduced,
        "_opened_from": kind,
        "forward": FORWARDS[name],
    }
    return _CLASSES.setdefault(kind, type(kind.__name__, (kind,), contents))


def _reduced(module: nn.Module, protocol: int) -> tuple[Any, ...]:
    # Pickle would look the class up by its name, and find the parent.
    return _blank, (vars(type(module))["_opened_from"],), vars(module)


def _blank(kind: type[nn.Module]) -> nn.Module:
    opened = _opened(kind)
    return opened.__new__(opened)
