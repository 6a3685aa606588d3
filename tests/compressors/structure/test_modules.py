from __future__ import annotations

import pytest
import torch
from torch import nn

from leanfront.core.compressors.structure.modules import (
    channel_axis,
    cut_axis,
    cut_module,
    describe,
    own_tensors,
)
from leanfront.core.compressors.structure.structure import Part
from leanfront.core.targets.pad_shortcut import PadShortcut


def described(module: nn.Module) -> Part:
    part = describe("m", module)
    assert part is not None
    return part


@pytest.mark.parametrize(
    ("module", "kind", "inputs", "outputs", "weights"),
    [
        (nn.Conv2d(3, 8, 3), "conv", 3, 8, 216),
        (nn.Conv2d(8, 8, (3, 5), groups=4), "conv", 8, 8, 240),
        (nn.Conv2d(8, 8, 3, groups=8), "depthwise", 8, 8, 72),
        (nn.Conv2d(8, 16, 3, groups=8), "conv", 8, 16, 144),
        (nn.Conv1d(4, 6, 5), "conv", 4, 6, 120),
        (nn.Conv3d(2, 3, 3), "conv", 2, 3, 162),
        (nn.ConvTranspose2d(4, 6, 3), "conv", 4, 6, 216),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), "conv", 4, 6, 108),
        (nn.Linear(5, 7), "linear", 5, 7, 35),
    ],
)
def test_layers(module: nn.Module, kind: str, inputs: int, outputs: int, weights: int) -> None:
    part = described(module)
    assert (part.kind, part.inputs, part.outputs, part.weights) == (kind, inputs, outputs, weights)
    assert part.weights == module.weight.numel()
    assert part.is_layer
    assert part.bias
    assert part.tensors == {}


class Scaled(nn.Conv2d):
    """A user's own layer with a tensor beside its weight."""

    def __init__(self) -> None:
        super().__init__(2, 3, 1)
        self.gain = nn.Parameter(torch.ones(3, 1, 1, 1))


def test_a_layers_further_tensors_are_kept_in_sight() -> None:
    assert described(Scaled()).tensors == {"gain": ((3, 1, 1, 1), "float32", None)}


def test_norms() -> None:
    part = described(nn.BatchNorm2d(6))
    assert (part.kind, part.outputs, part.folded, set(part.tensors)) == (
        "norm",
        6,
        True,
        {"weight", "bias", "running_mean", "running_var"},
    )
    assert not described(nn.BatchNorm2d(6, track_running_stats=False)).folded
    assert described(nn.LayerNorm((4, 6))).tensors["weight"] == ((4, 6), "float32", 1)
    assert described(nn.GroupNorm(2, 6)).kind == "channelwise"
    assert described(nn.InstanceNorm2d(6)).outputs == 6
    assert described(nn.PReLU(6)).outputs == 6
    assert described(nn.PReLU()).kind == "pointwise"


def test_what_has_no_tensors_is_not_a_part() -> None:
    assert describe("m", nn.ReLU()) is None
    assert describe("m", nn.Sequential(nn.Linear(2, 2))) is None
    assert describe("m", nn.BatchNorm1d(3, affine=False, track_running_stats=False)) is None


def test_persistent_buffers_count_and_transient_ones_do_not() -> None:
    module = nn.Module()
    module.register_buffer("kept", torch.zeros(2, 3, dtype=torch.float16))
    module.register_buffer("passing", torch.zeros(4), persistent=False)
    assert own_tensors(module) == {"kept": ((2, 3), "float16", 1)}
    assert described(module).kind == "other"


def test_axes() -> None:
    assert cut_axis((4, 1, 1)) == 0
    assert cut_axis((1, 5, 8)) == 2
    assert cut_axis((1, 1)) is None
    assert cut_axis(()) is None
    assert channel_axis(nn.Linear(2, 2)) == -1
    assert channel_axis(nn.Conv2d(2, 2, 1)) == 1


def test_both_sides_of_the_padding_shortcut() -> None:
    shortcut = PadShortcut(4, 8, 2)
    assert shortcut.index.tolist() == [-1, -1, 0, 1, 2, 3, -1, -1]
    x = torch.randn(2, 4, 6, 6)
    dense = shortcut(x)
    cut_module(shortcut, {"in": [1], "out": [0, 4, 7]})
    assert (shortcut.in_channels, shortcut.out_channels) == (3, 5)
    assert shortcut.index.tolist() == [-1, 0, -1, 2, -1]
    expected = dense[:, [1, 2, 3, 5, 6]].clone()
    expected[:, 2] = 0  # copied the channel that is gone
    assert torch.equal(shortcut(x[:, [0, 2, 3]]), expected)


def test_an_unknown_type_cannot_be_cut() -> None:
    with pytest.raises(TypeError, match="no pruner for Dropout"):
        cut_module(nn.Dropout(), {"out": [0]})
