"""Weights kept on disk: what comes back, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from leanfront.core.targets.pad_shortcut import PadShortcut
from leanfront.core.targets.weights_cache import (
    cache_folder,
    fill,
    raw_bytes,
    read_weights,
    unfit,
    weights_of,
    write_weights,
)


def network() -> nn.Module:
    """With a buffer outside the state dict, integers, a half and tied weights."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), PadShortcut(2, 4, 1), nn.Linear(3, 3))
    model.register_module("tied", nn.Linear(3, 3))
    model.tied.weight = model[3].weight
    model.register_buffer("short", torch.tensor([1.5, -2.0], dtype=torch.bfloat16))
    return model


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    model = network()
    path = tmp_path / "new" / "w.safetensors"
    write_weights(path, "key", weights_of(model))
    kept = read_weights(path, "key")
    assert kept is not None
    assert sorted(kept) == sorted(weights_of(model))
    assert {"2.index", "1.num_batches_tracked", "short"} <= kept.keys()
    other = network()
    assert unfit(other, kept) == []
    assert fill(other, kept) is other
    for name, tensor in weights_of(model).items():
        assert torch.equal(tensor, weights_of(other)[name])
    assert other.tied.weight is other[3].weight
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_another_key_or_none_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    assert read_weights(path, "key") is None
    write_weights(path, "key", weights_of(network()))
    assert read_weights(path, "other") is None


def test_a_weight_that_is_not_finite_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, "key", {"w": torch.tensor([1.0, float("inf")])})
    assert read_weights(path, "key") is None


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    path = tmp_path_factory.mktemp("flip") / "w.safetensors"
    weights = {"a": torch.arange(4.0), "b": torch.tensor([3, 1])}
    write_weights(path, "key", weights)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    found = read_weights(path, "key")
    # A flip in what safetensors skips, such as the padding of its header, leaves the weights as they were.
    assert found is None or all(torch.equal(found[name], weights[name]) for name in weights)


def test_what_does_not_fit_is_named() -> None:
    model = nn.Linear(3, 2)
    assert unfit(model, {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}) == []
    assert unfit(model, {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}) == ["weight"]
    assert unfit(model, {"weight": torch.zeros(2, 3).double(), "other": torch.zeros(2)}) == [
        "bias",
        "other",
        "weight",
    ]


def test_raw_bytes_are_the_values_in_order() -> None:
    tensor = torch.arange(6, dtype=torch.int16).view(2, 3)
    assert raw_bytes(tensor.t()) == tensor.numpy().T.tobytes()
    assert raw_bytes(torch.tensor(1.0, dtype=torch.bfloat16)) == b"\x80\x3f"


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("LEANFRONT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "leanfront"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "leanfront"
