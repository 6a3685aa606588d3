"""Opened attention computes what it replaces: torch's and torchvision's own modules are the oracles."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import maxvit, swin_transformer

from leanfront.core.targets import Target
from leanfront.core.targets.attention import (
    HeadAttention,
    RelativeAttention,
    SelfAttention,
    WindowAttention,
    open_attention,
)

HIDDEN = torch.tensor([[False] * 5, [False, False, True, True, True]])
BEFORE = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)


def shaken(module: nn.Module) -> nn.Module:
    """Biases and tables begin as zeros, which would hide mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.double().eval()


def both(module: nn.Module) -> tuple[nn.Module, Any]:
    """A module, and an opened copy."""
    theirs = nn.Sequential(shaken(module))
    ours = open_attention(copy.deepcopy(theirs))
    assert isinstance(ours[0], HeadAttention)
    return theirs[0], ours[0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"need_weights": False},
        {"average_attn_weights": False},
        {"attn_mask": BEFORE},
        {"attn_mask": BEFORE, "need_weights": False, "is_causal": True},
        {"attn_mask": torch.linspace(-2, 2, 25, dtype=torch.float64).reshape(5, 5)},
        {"attn_mask": torch.linspace(-2, 2, 150, dtype=torch.float64).reshape(6, 5, 5)},
        {"key_padding_mask": HIDDEN},
        {"key_padding_mask": HIDDEN, "attn_mask": BEFORE, "need_weights": False},
    ],
)
def test_multi_head_attention(bias: bool, batch_first: bool, options: dict[str, Any]) -> None:
    theirs, ours = both(nn.MultiheadAttention(12, 3, bias=bias, batch_first=batch_first))
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    x = x if batch_first else x.transpose(0, 1)
    found, expected = ours(x, x, x, **options), theirs(x, x, x, **options)
    torch.testing.assert_close(found[0], expected[0])
    assert (found[1] is None) == (expected[1] is None)
    if expected[1] is not None:
        torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize("batch_first", [True, False])
def test_other_keys_and_single_sequences(batch_first: bool) -> None:
    theirs, ours = both(nn.MultiheadAttention(12, 3, batch_first=batch_first))
    query, key, value = (torch.randn(4, length, 12, dtype=torch.float64) for length in (4, 4, 4))
    torch.testing.assert_close(ours(query, key, value)[0], theirs(query, key, value)[0])
    torch.testing.assert_close(ours(query, key, key)[1], theirs(query, key, key)[1])
    single = query[0]
    torch.testing.assert_close(ours(single, single, single), theirs(single, single, single))
    hidden = HIDDEN[1, :4]
    torch.testing.assert_close(
        ours(single, single, single, key_padding_mask=hidden),
        theirs(single, single, single, key_padding_mask=hidden),
    )


def test_state_dicts_are_interchangeable() -> None:
    theirs, ours = both(nn.MultiheadAttention(12, 3))
    assert set(ours.state_dict()) == set(theirs.state_dict())
    other = shaken(nn.MultiheadAttention(12, 3))
    ours.load_state_dict(other.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 2, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(x, x, x), other(x, x, x))
    torch.testing.assert_close(theirs(x, x, x), other(x, x, x))


def test_inside_torchs_encoder() -> None:
    layer = nn.TransformerEncoderLayer(12, 2, 16, batch_first=True)
    theirs = shaken(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    ours = open_attention(copy.deepcopy(theirs))
    assert sum(isinstance(module, SelfAttention) for module in ours.modules()) == 2
    calls: list[Tensor] = []
    projection = ours.get_submodule("layers.0.self_attn.in_proj")
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected)
        projection.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0]))
        torch.testing.assert_close(ours(x), expected)
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["ShiftedWindowAttention", "ShiftedWindowAttentionV2"])
@pytest.mark.parametrize(
    ("sides", "shift"),
    [((8, 8), [0, 0]), ((8, 8), [2, 2]), ((7, 10), [2, 1]), ((4, 8), [2, 2]), ((3, 2), [2, 2])],
)
def test_window_attention(kind: str, sides: tuple[int, int], shift: list[int]) -> None:
    theirs, ours = both(getattr(swin_transformer, kind)(12, [4, 4], shift, 3))
    assert isinstance(ours, WindowAttention)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    x = torch.randn(2, *sides, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))


def test_relative_attention() -> None:
    theirs, ours = both(maxvit.RelativePositionalMultiHeadAttention(12, 4, 9))
    assert isinstance(ours, RelativeAttention)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    x = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))


class Mine(nn.MultiheadAttention):
    """A user's own, which may compute anything."""


def test_what_stays_closed() -> None:
    hooked = nn.MultiheadAttention(4, 2)
    hooked.register_forward_hook(lambda *_: None)
    modules = [
        Mine(4, 2),
        hooked,
        nn.MultiheadAttention(4, 2, kdim=3),
        nn.MultiheadAttention(4, 2, add_bias_kv=True),
        nn.MultiheadAttention(4, 2, add_zero_attn=True),
    ]
    opened = open_attention(nn.ModuleList(modules))
    assert [type(module) for module in opened.children()] == [type(module) for module in modules]


def test_a_module_used_twice_stays_one() -> None:
    shared = nn.MultiheadAttention(4, 2)
    opened: Any = open_attention(nn.ModuleList([shared, nn.Sequential(shared)]))
    assert opened[0] is opened[1][0]


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.attention(x, x, x)[0].mean(1))


def test_a_targets_model_is_open_and_the_users_is_not_touched() -> None:
    model = Classifier()
    inputs, labels = torch.randn(12, 5, 4), torch.arange(12) % 3
    target = Target(model=model, example_input=inputs[:1], validation=(inputs, labels))
    assert isinstance(target.model.get_submodule("attention"), SelfAttention)
    assert isinstance(model.attention, nn.MultiheadAttention)
    torch.testing.assert_close(target.model(inputs), model.eval()(inputs))
    model.load_state_dict(target.dense_state)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.MultiheadAttention(12, 3, batch_first=True), (5, 12)),
        (lambda: swin_transformer.ShiftedWindowAttention(12, [4, 4], [2, 2], 3), (8, 8, 12)),
        (lambda: swin_transformer.ShiftedWindowAttentionV2(12, [4, 4], [2, 2], 3), (8, 8, 12)),
        (lambda: maxvit.RelativePositionalMultiHeadAttention(12, 4, 9), (3, 9, 12)),
    ],
)
def test_the_batch_stays_free_in_a_program(make: Any, shape: tuple[int, ...]) -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = both(make())[1]

        def forward(self, x: Tensor) -> Tensor:
            if isinstance(self.inner, SelfAttention):
                return self.inner(x, x, x, need_weights=False)[0]
            return self.inner(x)

    model = Whole().eval()
    x = torch.randn(2, *shape, dtype=torch.float64)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},)).module()
    more = torch.cat((x, -x))
    torch.testing.assert_close(program(more), model(more))
