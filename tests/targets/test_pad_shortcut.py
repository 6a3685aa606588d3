"""The padding shortcut against the slicing and padding it stands for."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from leanfront.core.targets.pad_shortcut import PadShortcut


@given(channels=st.integers(1, 6), extra=st.integers(0, 7), stride=st.integers(1, 3), side=st.integers(1, 7))
def test_equals_slicing_and_padding(channels: int, extra: int, stride: int, side: int) -> None:
    x = torch.randn(2, channels, side, side + 1)
    expected = functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, extra // 2, extra - extra // 2))
    assert torch.equal(PadShortcut(channels, channels + extra, stride)(x), expected)


def test_index_says_which_channel_is_copied() -> None:
    shortcut = PadShortcut(2, 4)
    assert shortcut.index.tolist() == [-1, 0, 1, -1]
    assert shortcut.index.dtype == torch.int16
    shortcut.index = torch.tensor([1, -1, 1], dtype=torch.int16)
    x = torch.randn(3, 2, 4, 4)
    out = shortcut(x)
    assert torch.equal(out[:, 0], x[:, 1, ::2, ::2])
    assert torch.equal(out[:, 2], x[:, 1, ::2, ::2])
    assert not out[:, 1].any()


def test_zeros_are_zeros_beside_infinite_inputs() -> None:
    out = PadShortcut(1, 3, 1)(torch.full((1, 1, 2, 2), float("inf")))
    assert not out[:, 0].any()
    assert not out[:, 2].any()


def test_index_is_outside_the_state_dict_yet_kept() -> None:
    shortcut = PadShortcut(2, 4)
    assert not shortcut.state_dict()
    shortcut.index = torch.tensor([-1, 1], dtype=torch.int16)
    assert not shortcut.state_dict()
    assert pickle.loads(pickle.dumps(shortcut)).index.tolist() == [-1, 1]
    assert shortcut.double().index.dtype == torch.int16


def test_gradient_reaches_the_copied_channels() -> None:
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    PadShortcut(2, 6)(x).sum().backward()
    expected = torch.zeros(4, 4)
    expected[::2, ::2] = 1
    assert x.grad is not None
    assert torch.equal(x.grad, expected.expand(1, 2, 4, 4))


def test_counts_no_compute_and_traces_at_other_sizes(fvcore_count: Any) -> None:
    shortcut = PadShortcut(2, 4)
    assert fvcore_count(shortcut, torch.randn(1, 2, 4, 4)) == (0, {})
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # PyTorch deprecates tracing, which fvcore and the exporters still use
        traced = torch.jit.trace(shortcut, torch.randn(1, 2, 4, 4))
    x = torch.randn(3, 2, 8, 6)
    assert torch.equal(traced(x), shortcut(x))


@pytest.mark.parametrize(("channels", "out", "stride"), [(4, 3, 2), (0, 3, 2), (2, 4, 0)])
def test_refuses_what_is_no_shortcut(channels: int, out: int, stride: int) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        PadShortcut(channels, out, stride)
