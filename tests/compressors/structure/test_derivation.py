"""Groups are held against hand-written expectations and against dense models with consumers' weights zeroed."""

from __future__ import annotations

import copy
import random
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import ChannelGroup, Structure
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.silencing import silenced
from leanfront.core.compressors.structure.slicing import cut
from leanfront.core.targets import Target, resolve
from leanfront.core.targets.pad_shortcut import PadShortcut
from leanfront.errors import TargetError

EXAMPLE = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
PROBE = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(4))


def zero_weights(model: nn.Module, group: ChannelGroup, units: list[int]) -> nn.Module:
    """A copy in which every consumer's weights of the units' channels are zero: written without hooks."""
    dense = copy.deepcopy(model)
    modules = dict(dense.named_modules())
    with torch.no_grad():
        for member in group.members:
            if member.side != "in":
                continue
            module: Any = modules[member.part]
            channels = [index for unit in units for index in member.indices[unit]]
            if isinstance(module, PadShortcut):
                for output, source in enumerate(module.index.tolist()):
                    if source in channels:
                        module.index[output] = -1
            elif isinstance(module, nn.Linear):
                module.weight[:, channels] = 0
            elif module.transposed:
                module.weight[channels] = 0
            else:
                per_group_in = module.in_channels // module.groups
                per_group_out = module.out_channels // module.groups
                for channel in channels:
                    which, local = divmod(channel, per_group_in)
                    module.weight[which * per_group_out : (which + 1) * per_group_out, local] = 0
    return dense


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert float((found - expected).norm()) <= 1e-4 * float(expected.norm())


def test_groups_are_those_known_by_hand(net: Any) -> None:
    structure = derive(net.build(), EXAMPLE)
    assert {n: (g.units, set(g.producers)) for n, g in structure.groups.items()} == net.groups
    order = list(structure.parts)
    assert list(structure.groups) == sorted(structure.groups, key=order.index)


def test_cutting_any_units_equals_zeroing_their_consumers(net: Any) -> None:
    model = net.build()
    structure = derive(model, EXAMPLE)
    choice = random.Random(7)
    for group in structure.groups.values():
        for count in {1, group.units // 2, group.units - 1} - {0}:
            units = choice.sample(range(group.units), count)
            small = copy.deepcopy(model)
            cut(small, [group], {group.name: units})
            with torch.no_grad():
                assert_close(small(PROBE), zero_weights(model, group, units)(PROBE))


def test_all_groups_can_be_cut_at_once(net: Any) -> None:
    model = net.build()
    groups = list(derive(model, EXAMPLE).groups.values())
    choice = random.Random(8)
    gone = {group.name: choice.sample(range(group.units), group.units // 2) for group in groups}
    small, silent = copy.deepcopy(model), model
    cut(small, groups, gone)
    for group in groups:
        silent = zero_weights(silent, group, gone[group.name])
    with torch.no_grad():
        assert_close(small(PROBE), silent(PROBE))
        with silenced(model, groups, gone):
            assert_close(model(PROBE), silent(PROBE))


@pytest.mark.parametrize("requires_grad", [True, False])
def test_the_model_is_left_alone(nets: Any, requires_grad: bool) -> None:
    model = nets["dense"].build().train()
    model.requires_grad_(requires_grad)
    before = copy.deepcopy(model.state_dict())
    derive(model, EXAMPLE)
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad is requires_grad and p.grad is None for p in model.parameters())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_channels_hidden_in_padding_are_left_alone(hidden_pad: nn.Module) -> None:
    structure = derive(hidden_pad, EXAMPLE)
    assert set(structure.groups) <= {"inner"}
    assert structure.layers == ("stem", "inner", "outer", "linear")
    reasons = {name: reason for name, what, reason in structure.exclusions if "channel group" in what}
    assert reasons
    assert all(reasons.values())
    for group in structure.groups.values():
        small = copy.deepcopy(hidden_pad)
        cut(small, [group], {group.name: [0, 2]})
        with torch.no_grad():
            assert_close(small(PROBE), zero_weights(hidden_pad, group, [0, 2])(PROBE))


def reasons_of(structure: Structure, name: str) -> str:
    return "; ".join(reason for subject, _, reason in structure.exclusions if subject == name)


def test_what_is_left_alone_has_its_reason(nets: Any) -> None:
    tied = derive(nets["tied"].build(), EXAMPLE)
    assert "shares a tensor with second.weight" in reasons_of(tied, "first")
    assert "shares a tensor with first.weight" in reasons_of(tied, "second")
    assert {"first", "second"}.isdisjoint(tied.layers)
    assert "cannot be cut" in reasons_of(tied, "enter")

    tokens = derive(nets["tokens"].build(), EXAMPLE)
    assert reasons_of(tokens, "patches")

    mixed = derive(nets["group-norm"].build(), EXAMPLE)
    assert "does not run" in reasons_of(mixed, "conv1") or "mixed" in reasons_of(mixed, "conv1")

    transposed = derive(nets["transposed"].build(), EXAMPLE)
    assert "grouped transposed" in reasons_of(transposed, "grouped")
    assert "grouped" not in transposed.layers

    attention = derive(nets["closed-attention"].build(), EXAMPLE)
    assert "no rule for this module" in reasons_of(attention, "attention")
    assert attention.uncalled == ("attention.out_proj",)
    assert "never called" in reasons_of(attention, "attention.out_proj")
    assert "attention.out_proj" in attention.layers


class Helped(nn.Module):
    """With a head that training alone calls."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.auxiliary = nn.Linear(12, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        x = torch.relu(self.body(x.flatten(1)))
        return (self.head(x), self.auxiliary(x)) if self.training else self.head(x)


def test_a_head_for_training_alone_is_named_so() -> None:
    structure = derive(Helped(), torch.randn(1, 3, 2, 2))
    assert "serves training alone" in reasons_of(structure, "auxiliary")
    assert set(structure.groups) == {"body"}


class Branching(nn.Module):
    """Takes one way above a threshold and another below."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.body, self.one, self.other, self.head = (
            nn.Linear(12, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.body(x.flatten(1)))
        x = self.one(x) if x.mean() > self.threshold else self.other(x)
        return self.head(torch.relu(x))


@pytest.mark.parametrize("threshold", [0.2, 1.5, 1e6])
def test_a_model_that_branches_on_its_inputs_keeps_its_channels(threshold: float) -> None:
    structure = derive(Branching(threshold), torch.ones(1, 3, 2, 2))
    assert not structure.groups
    assert "may call other modules for other inputs" in reasons_of(structure, "model")


class Sharpened(nn.Linear):
    """Makes a weight of its own, and changes what the linear map returns."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.tanh(), self.bias) ** 3


def test_a_layer_that_makes_its_weight_and_has_no_plain_form_is_left_alone() -> None:
    model = nn.Sequential(nn.Flatten(), Sharpened(12, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    structure = derive(model, torch.randn(1, 3, 2, 2))
    assert structure.layers == ("3",)
    assert "made of other tensors" in reasons_of(structure, "1")


def test_masks_are_applied() -> None:
    from torch.nn.utils import prune

    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        prune.l1_unstructured(model[1], "weight", amount=0.5)
        model[1].weight = model[1].weight.detach()
    structure = derive(model, torch.randn(1, 3, 2, 2))
    assert structure.layers == ("1", "3")


def test_a_zero_initialised_norm_is_proven_with_other_weights(nets: Any) -> None:
    model = nets["zero-gamma"].make().eval()  # not stirred: gamma is zero
    structure = derive(model, EXAMPLE)
    assert set(structure.groups) == {"stem", "conv1"}
    assert not model.norm.weight.any()


class Odd(nn.Module):
    """Control flow on values, and a layer called by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 4, 3, padding=1)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x * 2 if float(x.detach().sum()) > 0 else x
        return self.linear(self.second(input=x).mean((2, 3)))


def test_odd_models_do_not_crash() -> None:
    structure = derive(Odd().eval(), EXAMPLE)
    assert structure.layers == ("conv", "second", "linear")
    assert structure.uncalled == ("second",)
    assert "conv" not in structure.groups
    assert "second reads its channels without being called with them" in reasons_of(structure, "conv")


class Shuffled(nn.Module):
    """Channels change places by an index: a graph without it takes them for one another."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv1(x)).flip(1)
        return self.linear(torch.relu(self.conv2(x)).mean((2, 3)))


def test_a_wrong_group_is_refuted() -> None:
    structure = derive(Shuffled().eval(), EXAMPLE)
    assert set(structure.groups) == {"conv2"}
    assert "cutting differs from silencing" in reasons_of(structure, "conv1")


def test_a_model_that_does_not_run_is_refused(nets: Any) -> None:
    with pytest.raises(TargetError, match="does not run on its example input"):
        derive(nets["chain"].build(), torch.randn(1, 5, 8, 8))


def test_a_model_without_layers_has_nothing() -> None:
    structure = derive(nn.Sequential(nn.Flatten()).eval(), EXAMPLE)
    assert structure.groups == {}
    assert structure.layers == ()


def test_warnings_stay_inside(net: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        derive(net.build(), EXAMPLE)


def test_seeds_choose_other_channels_and_agree(nets: Any) -> None:
    model = nets["dense"].build()
    assert derive(model, EXAMPLE, seed=0) == derive(model, EXAMPLE, seed=1)


def test_digits(digits: Target) -> None:
    structure = derive(digits.model, digits.example_input)
    assert {name: group.units for name, group in structure.groups.items()} == {
        "conv1": 16,
        "conv2": 40,
        "block.conv1": 40,
        "conv3": 48,
    }
    assert structure.parameters == 52_842


def test_resnet20_has_twelve_groups(shared_data: Any) -> None:
    target = resolve(
        f"cifar10-resnet20?data={shared_data}/cifar10_jpeg.zip"
        f"&weights={shared_data}/resnet20_cifar10_jpeg.safetensors"
    )
    structure = derive(target.model, target.example_input)
    inner = {
        f"layer{stage}.{block}.conv1": width
        for stage, width in ((1, 16), (2, 32), (3, 64))
        for block in range(3)
    }
    residual = {"conv1": 16, "layer2.0.conv2": 32, "layer3.0.conv2": 64}
    assert {name: group.units for name, group in structure.groups.items()} == inner | residual
    assert structure.parameters == 269_722
    assert len(structure.layers) == 20
