"""Heads of timm, of transformers and of one's own are groups, proven, and cut to what the forward expects."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors.structure.derivation import derive, skeleton
from leanfront.core.targets.attention import open_attention


def timm_model(name: str, **options: Any) -> tuple[nn.Module, Tensor]:
    timm = pytest.importorskip("timm")
    side = options.pop("side", options.get("img_size", 32))
    return timm.create_model(name, num_classes=5, **options), torch.randn(3, 3, side, side)


def transformer(name: str, **options: Any) -> tuple[nn.Module, Tensor]:
    transformers = pytest.importorskip("transformers")
    configuration = getattr(transformers, f"{name}Config")(**options)
    task = "Image" if "image_size" in options else "Sequence"
    model = getattr(transformers, f"{name}For{task}Classification")(configuration)
    image = torch.randn(3, 3, 16, 16)
    return model, image if task == "Image" else torch.randint(1, 50, (3, 7))


TEXT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 24,
}
ENDS = {"bos_token_id": 1, "eos_token_id": 1}
MODELS: dict[str, tuple[Callable[[], tuple[nn.Module, Tensor]], str, int]] = {
    "vit": (lambda: timm_model("vit_tiny_patch16_224", img_size=32, depth=1), "blocks.0.attn.qkv", 3),
    "beit": (
        lambda: timm_model("beit_base_patch16_224", img_size=32, depth=1, embed_dim=48, num_heads=4),
        "blocks.0.attn.qkv",
        4,
    ),
    "eva02": (
        lambda: timm_model("eva02_tiny_patch14_224", img_size=28, depth=1),
        "blocks.0.attn.qkv",
        3,
    ),
    "swin": (
        lambda: timm_model("swin_tiny_patch4_window7_224", img_size=28, depths=(1, 1), embed_dim=8, num_heads=(2, 2)),
        "layers.0.blocks.0.attn.qkv",
        2,
    ),
    "xcit": (lambda: timm_model("xcit_nano_12_p16_224", depth=1, side=32), "blocks.0.attn.qkv", 4),
    "class token": (
        lambda: timm_model("xcit_nano_12_p16_224", depth=1, side=32),
        "cls_attn_blocks.0.attn.q",
        4,
    ),
    "bert": (lambda: transformer("Bert", **TEXT), "bert.encoder.layer.0.attention.self.query", 4),
    "grouped queries": (
        lambda: transformer("Llama", **TEXT, num_key_value_heads=2, pad_token_id=0),
        "model.layers.0.self_attn.q_proj",
        2,
    ),
    "conv1d": (
        lambda: transformer("GPT2", vocab_size=50, n_embd=16, n_layer=1, n_head=4, pad_token_id=0, **ENDS),
        "transformer.h.0.attn.c_attn",
        4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_heads_of_libraries_are_groups(name: str) -> None:
    make, group, heads = MODELS[name]
    torch.manual_seed(0)
    model, inputs = make()
    model.eval()
    structure = derive(model, inputs[:1], samples=inputs)
    assert structure.groups[group].units == heads
    opened = open_attention(copy.deepcopy(model))
    assert skeleton(model, inputs[:1]).groups[group] == structure.groups[group]
    with torch.no_grad():
        expected, found = (_logits(each(inputs)) for each in (model, opened))
    torch.testing.assert_close(found, expected)
    again = pickle.loads(pickle.dumps(opened))
    with torch.no_grad():
        assert torch.equal(_logits(again(inputs)), found)
    assert [type(m).__qualname__ for m in opened.modules()] == [type(m).__qualname__ for m in model.modules()]
    state = opened.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(state[key].shape == value.shape for key, value in model.state_dict().items())
    opened.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(_logits(opened(inputs)), found)
    # torch.jit.trace, which counts operations, recognises parameters by this.
    kept = opened.state_dict(keep_vars=True)
    assert all(kept[key] is value for key, value in opened.named_parameters())


def _logits(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.logits


class Own(nn.Module):
    """Attention of one's own: heads by number, a table and a vector with entries of heads."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.heads, self.dim = 4, 24
        if fused:
            self.qkv = nn.Linear(12, 3 * 24)
        else:
            self.to_q, self.to_k, self.to_v = nn.Linear(12, 24), nn.Linear(12, 24), nn.Linear(12, 24)
        self.bias = nn.Parameter(torch.randn(1, 4, 1, 1))
        self.scale = nn.Parameter(torch.rand(24) + 0.5)
        self.register_buffer("offset", torch.randn(4))
        self.to_out = nn.Sequential(nn.Linear(24, 12), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        layers = (
            self.qkv(x).chunk(3, -1) if hasattr(self, "qkv") else (self.to_q(x), self.to_k(x), self.to_v(x))
        )
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in layers)
        weights = (q @ k.transpose(-2, -1) * self.bias).softmax(-1) * self.offset[:, None, None]
        mixed = (weights @ v).transpose(1, 2).reshape(len(x), -1, self.dim)
        return self.to_out(mixed * self.scale)


class Classifier(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention, self.head = attention, nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.gelu(x + self.attention(x)).mean(1))


@pytest.mark.parametrize("fused", [True, False])
def test_heads_of_ones_own_are_cut_with_their_tables(fused: bool) -> None:
    torch.manual_seed(0)
    structure = derive(Classifier(Own(fused)).eval(), torch.randn(4, 5, 12))
    (group,) = [group for group in structure.groups.values() if group.units == 4]
    cut = {member.part: member.per_unit for member in group.members if member.side == "parameter"}
    assert cut == {"attention.bias": 1, "attention.scale": 6, "attention.offset": 1}


class Across(Own):
    """Heads talk to each other before they are mixed: none can be cut alone."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        weights = (q @ k.transpose(-2, -1) * self.bias).softmax(-1) * self.offset[:, None, None]
        weights = weights - weights.mean(1, keepdim=True)
        mixed = (weights @ v).transpose(1, 2).reshape(len(x), -1, self.dim)
        return self.to_out(mixed * self.scale)


def test_a_wrong_guess_is_refuted() -> None:
    torch.manual_seed(0)
    structure = derive(Classifier(Across(True)).eval(), torch.randn(4, 5, 12))
    assert "attention.qkv" not in structure.groups
    assert any("mixed" in reason for name, _, reason in structure.exclusions if name == "attention.qkv")
