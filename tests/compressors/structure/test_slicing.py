from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from leanfront.core.compressors.structure.slicing import cut, cut_for_now
from leanfront.core.compressors.structure.structure import ChannelGroup, Member


def member(part: str, side: str, *rows: tuple[int, ...]) -> Member:
    return Member(part, side, rows)


def test_kept_weights_are_slices_of_the_dense_ones() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1))
    dense = copy.deepcopy(model)
    single = ((0,), (1,), (2,), (3,))
    group = ChannelGroup(
        "0", 4, (Member("0", "out", single), Member("1", "out", single), Member("2", "in", single))
    )
    cut(model, [group], {"0": [2, 0]})
    assert torch.equal(model[0].weight, dense[0].weight[[1, 3]])
    assert torch.equal(model[0].bias, dense[0].bias[[1, 3]])
    assert torch.equal(model[1].running_var, dense[1].running_var[[1, 3]])
    assert torch.equal(model[2].weight, dense[2].weight[:, [1, 3]])
    assert torch.equal(model[2].bias, dense[2].bias)


def test_two_groups_that_cut_one_input_count_in_its_dense_numbering() -> None:
    model = nn.Sequential(nn.Linear(5, 2))
    dense = model[0].weight.clone()
    first = ChannelGroup("a", 2, (member("0", "in", (0,), (1,)),))
    second = ChannelGroup("b", 3, (member("0", "in", (2,), (3,), (4,)),))
    cut(model, [first, second], {"a": [1], "b": [0, 2]})
    assert torch.equal(model[0].weight, dense[:, [0, 3]])


def test_bare_parameters_are_cut_along_their_widest_last_axis() -> None:
    model = nn.Module()
    model.scale = nn.Parameter(torch.arange(4.0).view(4, 1, 1), requires_grad=False)
    cut(model, [ChannelGroup("a", 4, (member("scale", "parameter", (0,), (1,), (2,), (3,)),))], {"a": [1]})
    assert model.scale.flatten().tolist() == [0, 2, 3]
    assert not model.scale.requires_grad
    model.single = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="no axis to cut"):
        cut(model, [ChannelGroup("a", 1, (member("single", "parameter", (0,)),))], {"a": [0]})


@pytest.mark.parametrize("sides", [("out", "in"), ("in", "out")])
def test_a_grouped_convolution_left_with_one_output_a_group(sides: tuple[str, str]) -> None:
    """With as many outputs as groups it looks depthwise, which is cut in another way."""
    model = nn.Sequential(nn.Conv2d(16, 8, 1, groups=4))
    dense = model[0].weight.clone()
    outputs = ChannelGroup("out", 2, (member("0", "out", *((p, p + 2, p + 4, p + 6) for p in range(2))),))
    inputs = ChannelGroup("in", 4, (member("0", "in", *((p, p + 4, p + 8, p + 12) for p in range(4))),))
    by_side = {"out": outputs, "in": inputs}
    cut(model, [by_side[side] for side in sides], {"out": [0], "in": [1]})
    assert (model[0].in_channels, model[0].out_channels, model[0].groups) == (12, 4, 4)
    assert torch.equal(model[0].weight, dense[[1, 3, 5, 7]][:, [0, 2, 3]])


def test_nothing_to_cut_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    weight = model[0].weight
    cut(model, [ChannelGroup("a", 3, (member("0", "in", (0,), (1,), (2,)),))], {"a": []})
    assert model[0].weight is weight


def test_what_is_cut_for_now_is_whole_again() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1)).eval()
    model[0].register_forward_hook(lambda *_: None)
    single = ((0,), (1,), (2,), (3,))
    members = (Member("0", "out", single), Member("1", "out", single), Member("2", "in", single))
    group = ChannelGroup("0", 4, members)
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    values = {name: tensor.clone() for name, tensor in tensors.items()}
    texts = [repr(module) for module in model]

    def use() -> None:
        with cut_for_now(model, [group], {"0": [1, 3]}) as small:
            assert small is model
            assert (model[0].out_channels, model[1].num_features, model[2].in_channels) == (2, 2, 2)
            small(torch.randn(1, 4, 5, 5))

    with pytest.raises(RuntimeError, match="expected input"):
        use()
    after = dict([*model.named_parameters(), *model.named_buffers()])
    assert after.keys() == tensors.keys()
    assert all(after[name] is tensor for name, tensor in tensors.items())
    assert all(torch.equal(after[name], value) for name, value in values.items())
    assert [repr(module) for module in model] == texts
    assert len(model[0]._forward_hooks) == 1
