"""Attention modules with ordinary layers as projections and with heads that can be cut.

`nn.MultiheadAttention` stores its in-projection as a bare parameter and requires heads x head size = embedding size.
Torchvision's window attention passes its layers' weights to a function and derives the head size from the input.
Neither can lose a head, and hooks on their projections never run. The modules here compute the same outputs, but they
call their projections and derive the number of heads from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.targets.opened_forwards import open_forward
from leanfront.core.targets.transposed_linear import Conv1D


class HeadAttention(nn.Module):
    """Base class of the attention modules.

    Attributes:
        num_heads: number of heads.
        head_dim: number of features per head, for each of query, key and value.
        enters: path of the layer that computes queries, keys and values, (3 x heads x features) in this order.
        leaves: path of the layer that reads the outputs of the heads.
        beside: paths of layers with one output per head.
        tables: parameters and buffers with one entry per head -> axis of the heads.
    """

    num_heads: int
    head_dim: int
    enters: str
    leaves: str
    beside: tuple[str, ...] = ()
    tables: dict[str, int]


class SelfAttention(HeadAttention):
    """Replacement of `nn.MultiheadAttention` with heads that can be cut.

    Its state dict has the same names. Cross-attention reads the weights of the in-projection directly.

    Args:
        module: attention with one embedding size for queries, keys and values, and without an extra learned key. Its
            tensors are reused.
    """

    enters, leaves = "in_proj", "out_proj"
    # Keep nn.TransformerEncoderLayer from its fused path, which reads the weights directly.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(self, module: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim = module.embed_dim
        self.num_heads = module.num_heads
        self.head_dim = module.head_dim
        self.batch_first = module.batch_first
        self.dropout = module.dropout
        self.tables = {}
        weight, bias = module.in_proj_weight, module.in_proj_bias
        self.in_proj = nn.Linear(self.embed_dim, len(weight), bias=bias is not None, device="meta")
        self.in_proj.weight = weight
        if bias is not None:
            self.in_proj.bias = bias
        self.out_proj = nn.Linear(self.embed_dim, self.embed_dim, bias=bias is not None, device="meta")
        self.out_proj.weight = module.out_proj.weight
        if bias is not None:
            self.out_proj.bias = module.out_proj.bias
        self.register_state_dict_post_hook(_as_torch_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_from_torch_names)  # type: ignore[no-untyped-call]

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute attention like `nn.MultiheadAttention`; the hint `is_causal` is ignored, as the mask implies it."""
        q, k, v = self._projected(query, key, value)
        batched, dropout = query.dim() == 3, self.dropout if self.training else 0.0
        q, k, v = (self._split(x, batched) for x in (q, k, v))
        mask = self._mask(attn_mask, key_padding_mask, q, batched)
        if need_weights:
            scores = (q * self.head_dim**-0.5) @ k.transpose(-2, -1)
            weights = (scores if mask is None else scores + mask).softmax(-1)
            weights = functional.dropout(weights, dropout) if dropout else weights
            mixed = weights @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, mask, dropout)
        mixed = mixed.transpose(1, 2).flatten(2)
        output = self.out_proj(mixed if self.batch_first or not batched else mixed.transpose(0, 1))
        if not batched:
            output = output[0]
        if not need_weights:
            return output, None
        weights = weights.mean(1) if average_attn_weights else weights
        return output, weights if batched else weights[0]

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        if query is key and key is value:
            return self.in_proj(query).chunk(3, dim=-1)  # type: ignore[no-any-return]
        weights = self.in_proj.weight.chunk(3)
        biases = (None,) * 3 if self.in_proj.bias is None else self.in_proj.bias.chunk(3)
        inputs = (query, key, value)
        return tuple(functional.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))

    def _split(self, x: Tensor, batched: bool) -> Tensor:
        """Reshape to (n, heads, tokens, features)."""
        if not batched:
            x = x[None]
        elif not self.batch_first:
            x = x.transpose(0, 1)
        return _unflatten(x, -1, self.num_heads, self.head_dim).transpose(1, 2)

    def _mask(
        self, mask: Tensor | None, padding: Tensor | None, query: Tensor, batched: bool
    ) -> Tensor | None:
        """Return the additive mask of the scores, broadcastable to (n, heads, queries, keys), or None."""
        added = None if mask is None else _additive(mask, query.dtype)
        if added is not None and added.dim() == 3:
            added = _unflatten(added, 0, query.shape[0], self.num_heads)
        if padding is not None:
            hidden = _additive(padding if batched else padding[None], query.dtype)[:, None, None, :]
            added = hidden if added is None else added + hidden
        return added


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)


_TORCH_NAMES = {"in_proj.weight": "in_proj_weight", "in_proj.bias": "in_proj_bias"}


def _as_torch_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for own, theirs in _TORCH_NAMES.items():
        if prefix + own in state:
            state[prefix + theirs] = state.pop(prefix + own)


def _from_torch_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for own, theirs in _TORCH_NAMES.items():
        if prefix + theirs in state:
            state[prefix + own] = state.pop(prefix + theirs)


class WindowAttention(HeadAttention):
    """Replacement of torchvision's attention of Swin, versions 1 and 2.

    Version 2 ignores the bias of the keys; here it is set to zero.

    Args:
        module: module whose tensors are reused.
    """

    enters, leaves = "qkv", "proj"

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.window_size = list(module.window_size)
        self.shift_size = list(module.shift_size)
        self.num_heads = module.num_heads
        self.head_dim = module.qkv.in_features // module.num_heads
        self.attention_dropout = module.attention_dropout
        self.dropout = module.dropout
        self.qkv, self.proj = module.qkv, module.proj
        self.register_buffer("relative_position_index", module.relative_position_index)
        self.cosine = hasattr(module, "logit_scale")
        if self.cosine:
            self.logit_scale = module.logit_scale
            self.cpb_mlp = module.cpb_mlp
            self.register_buffer("relative_coords_table", module.relative_coords_table)
            self.beside = (f"cpb_mlp.{len(module.cpb_mlp) - 1}",)
            self.tables = {"logit_scale": 0}
            if self.qkv.bias is not None:
                with torch.no_grad():
                    self.qkv.bias.chunk(3)[1].zero_()
        else:
            self.relative_position_bias_table = module.relative_position_bias_table
            self.tables = {"relative_position_bias_table": 1}

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, height, width, channels) to the same shape."""
        height, width = x.shape[1:3]
        rows, columns = self.window_size
        x = functional.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        # A window that covers the whole map is not shifted.
        sides = zip(self.shift_size, self.window_size, x.shape[1:3], strict=True)
        shift = [0 if window >= whole else step for step, window, whole in sides]
        if any(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        down, across = x.shape[1] // rows, x.shape[2] // columns
        windows = _unflatten(_unflatten(x, 2, across, columns), 1, down, rows).transpose(2, 3)
        mixed = self._attend(windows.flatten(3, 4).flatten(0, 2), x.shape[1:3], shift)
        mixed = functional.dropout(self.proj(mixed), self.dropout, self.training)
        mixed = _unflatten(_unflatten(mixed, 1, rows, columns), 0, x.shape[0], down, across)
        x = mixed.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if any(shift):
            x = torch.roll(x, (shift[0], shift[1]), (1, 2))
        return x[:, :height, :width].contiguous()

    def _attend(self, tokens: Tensor, sides: torch.Size, shift: list[int]) -> Tensor:
        """Map (windows, tokens, channels) to (windows, tokens, heads x features)."""
        q, k, v = _heads(self.qkv(tokens), self.num_heads)
        if self.cosine:
            scores = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)
            scores = scores * self.logit_scale.clamp(max=math.log(100.0)).exp()
        else:
            scores = (q * self.head_dim**-0.5) @ k.transpose(-2, -1)
        scores = scores + self._position_bias()
        if any(shift):
            hidden = self._hidden(tokens, sides, shift)
            scores = (_unflatten(scores, 0, -1, hidden.shape[0]) + hidden[:, None]).flatten(0, 1)
        weights = functional.dropout(scores.softmax(-1), self.attention_dropout, self.training)
        return (weights @ v).transpose(1, 2).flatten(2)

    def _position_bias(self) -> Tensor:
        """Return the bias of relative positions (1, heads, tokens, tokens)."""
        if self.cosine:
            table = self.cpb_mlp(self.relative_coords_table).flatten(0, -2)
        else:
            table = self.relative_position_bias_table
        assert isinstance(self.relative_position_index, Tensor)
        tokens = self.window_size[0] * self.window_size[1]
        bias = table[self.relative_position_index].view(tokens, tokens, -1).permute(2, 0, 1).contiguous()
        return (16 * torch.sigmoid(bias) if self.cosine else bias)[None]

    def _hidden(self, tokens: Tensor, sides: torch.Size, shift: list[int]) -> Tensor:
        """Return (windows, tokens, tokens): -100 between tokens that share a window only because of the shift."""
        regions = tokens.new_zeros(tuple(sides))
        number = 0
        rows, columns = self.window_size
        for down in ((0, -rows), (-rows, -shift[0]), (-shift[0], None)):
            for across in ((0, -columns), (-columns, -shift[1]), (-shift[1], None)):
                regions[down[0] : down[1], across[0] : across[1]] = number
                number += 1
        regions = _unflatten(_unflatten(regions, 1, -1, columns), 0, -1, rows).transpose(1, 2)
        regions = regions.flatten(2).flatten(0, 1)
        apart = regions[:, None, :] != regions[:, :, None]
        return torch.zeros_like(apart, dtype=tokens.dtype).masked_fill_(apart, -100.0)


class RelativeAttention(HeadAttention):
    """Replacement of torchvision's attention of MaxViT.

    Args:
        module: module whose tensors are reused.
    """

    enters, leaves = "to_qkv", "merge"

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.num_heads = module.n_heads
        self.head_dim = module.head_dim
        self.scale_factor = module.scale_factor
        self.max_seq_len = module.max_seq_len
        self.to_qkv, self.merge = module.to_qkv, module.merge
        self.relative_position_bias_table = module.relative_position_bias_table
        self.register_buffer("relative_position_index", module.relative_position_index)
        self.tables = {"relative_position_bias_table": 1}

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, windows, tokens, channels) to the same shape."""
        q, k, v = _heads(self.to_qkv(x), self.num_heads)
        assert isinstance(self.relative_position_index, Tensor)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = bias.view(self.max_seq_len, self.max_seq_len, -1).permute(2, 0, 1)
        weights = (q @ (k * self.scale_factor).transpose(-2, -1) + bias).softmax(-1)
        return self.merge((weights @ v).transpose(-3, -2).flatten(-2))  # type: ignore[no-any-return]


def _heads(projected: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Split (..., tokens, 3 x heads x features) into queries, keys, values, each (..., heads, tokens, features)."""
    return tuple(_unflatten(x, -1, heads, -1).transpose(-3, -2) for x in projected.chunk(3, dim=-1))


def _unflatten(x: Tensor, axis: int, *sizes: int) -> Tensor:
    return x.unflatten(axis, sizes)  # type: ignore[no-any-return, no-untyped-call]


def _plain(module: nn.MultiheadAttention) -> bool:
    same = module._qkv_same_embed_dim and module.bias_k is None and not module.add_zero_attn
    return same and module.in_proj_weight is not None


OPENED: dict[str, tuple[Callable[[Any], nn.Module], Callable[[Any], bool]]] = {
    "torch.nn.modules.activation.MultiheadAttention": (SelfAttention, _plain),
    "torchvision.models.swin_transformer.ShiftedWindowAttention": (WindowAttention, lambda _: True),
    "torchvision.models.swin_transformer.ShiftedWindowAttentionV2": (WindowAttention, lambda _: True),
    "torchvision.models.maxvit.RelativePositionalMultiHeadAttention": (RelativeAttention, lambda _: True),
    "transformers.pytorch_utils.Conv1D": (Conv1D, lambda _: True),
}
"""Full name of a type -> its replacement that can be cut, and whether a module can be replaced."""


def open_attention(model: nn.Module) -> nn.Module:
    """Replace attention modules, in place, by equivalent ones with heads that can be cut.

    Subclasses, modules with hooks, and attention with extra keys or several embedding sizes are not replaced.

    Args:
        model: a model that is not itself an attention module. Its tensors stay the same objects.

    Returns:
        The model.
    """
    opened: dict[nn.Module, nn.Module] = {}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is None:
                continue
            kind = type(child)
            found = OPENED.get(f"{kind.__module__}.{kind.__qualname__}")
            if found is None or not found[1](child) or child._forward_hooks or child._forward_pre_hooks:
                continue
            if child not in opened:
                opened[child] = found[0](child).train(child.training)
            setattr(parent, name, opened[child])
    for module in model.modules():
        open_forward(module)
    return model
