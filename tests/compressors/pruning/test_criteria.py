"""Scores are held against the definitions, written as loops."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import CRITERIA, ChannelGroup, Criterion, Member, Saliency
from leanfront.core.compressors.pruning.scores import channel_scores, kept_units, weight_scores
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.targets import Target
from leanfront.testing import CriterionConformance


@pytest.fixture(scope="module")
def chain(nets: Any, make_target: Any) -> Saliency:
    target = make_target(nets["chain"].build(), 24)
    return Saliency(target, derive(target.model, target.example_input))


def saliency_of(target: Target) -> Saliency:
    return Saliency(target, derive(target.model, target.example_input))


def weight(saliency: Saliency, layer: str) -> Tensor:
    return saliency.target.model.get_submodule(layer).weight.detach()


def relative(values: Tensor) -> Tensor:
    return values.double() / values.double().mean()


class TestCriteria(CriterionConformance):
    @pytest.fixture(params=sorted(CRITERIA))
    def criterion(self, request: pytest.FixtureRequest) -> Criterion:
        return CRITERIA[request.param]


def test_magnitudes(chain: Saliency) -> None:
    w = weight(chain, "conv1")
    assert torch.equal(weight_scores(chain, "conv1", "l1"), w.abs())
    assert torch.equal(weight_scores(chain, "conv1", "l2"), w.square())
    group = chain.structure.groups["conv1"]
    l1 = torch.tensor([float(w[c].abs().sum()) for c in range(8)])
    l2 = torch.tensor([float(w[c].norm()) for c in range(8)])
    torch.testing.assert_close(channel_scores(chain, group, "l1"), relative(l1))
    torch.testing.assert_close(channel_scores(chain, group, "l2"), relative(l2))


def test_lamp_by_its_definition(chain: Saliency) -> None:
    w = weight(chain, "conv2").double()
    squares = w.square().flatten().tolist()
    expected = [x / sum(y for y in squares if y >= x) for x in squares]
    found = weight_scores(chain, "conv2", "lamp")
    torch.testing.assert_close(found.flatten(), torch.tensor(expected), rtol=1e-5, atol=1e-9)
    assert float(found.max()) == 1  # the largest weight of every layer is worth one
    group = chain.structure.groups["conv2"]
    by_channel = found.flatten(1).sum(1)
    torch.testing.assert_close(channel_scores(chain, group, "lamp"), relative(by_channel))


def samples_of(target: Target, count: int) -> list[tuple[Tensor, Tensor]]:
    return list(target.calibration.batches(1))[:count]


def test_taylor_is_what_finite_differences_say(chain: Saliency) -> None:
    """g w is the derivative of the loss with respect to the weight's own scale, at one."""
    target = chain.target
    model = copy.deepcopy(target.model).double()
    layer = model.get_submodule("conv2")
    dense = layer.weight.detach().clone()
    inputs, labels = target.calibration.tensors()
    step = 1e-5

    def slope(*place: int) -> float:
        losses = []
        for factor in (1 + step, 1 - step):
            scaled = dense.clone()
            scaled[place] *= factor
            with torch.no_grad():
                layer.weight.copy_(scaled)
                losses.append(float(functional.cross_entropy(model(inputs.double()), labels)))
        return (losses[0] - losses[1]) / (2 * step)

    found = chain.weight("conv2") * chain.gradient("conv2")
    for place in ((0, 0, 0, 0), (3, 2, 1, 1), (5, 7, 2, 0)):
        assert slope(*place) == pytest.approx(float(found[place]), rel=1e-3, abs=1e-6)
    # A channel's score is the squared derivative with respect to the whole filter's scale.
    expected = relative(torch.tensor([slope(channel) for channel in range(6)]).square())
    scores = channel_scores(chain, chain.structure.groups["conv2"], "taylor")
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-6)


def test_fisher_by_a_loop_over_samples(chain: Saliency) -> None:
    target = chain.target
    model = target.model
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(6, 8, 3, 3)
    samples = samples_of(target, 24)
    for inputs, _ in samples:
        logits = model(inputs)
        label = torch.multinomial(logits.detach().softmax(1), 1, generator=generator).flatten()
        (gradient,) = torch.autograd.grad(
            functional.cross_entropy(logits, label), [model.get_submodule("conv2").weight]
        )
        total += gradient.square()
    w = weight(chain, "conv2")
    expected = 0.5 * w.square() * total / len(samples)
    torch.testing.assert_close(weight_scores(chain, "conv2", "fisher"), expected, rtol=1e-4, atol=1e-9)
    by_channel = expected.flatten(1).sum(1)
    found = channel_scores(chain, chain.structure.groups["conv2"], "fisher")
    torch.testing.assert_close(found, relative(by_channel), rtol=1e-4, atol=1e-9)


class Swapped(nn.Module):
    """Norms registered in the other order than they run, and one layer without a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.bn2 = nn.BatchNorm2d(6)
        self.conv1 = nn.Conv2d(3, 6, 3)
        self.conv2 = nn.Conv2d(6, 6, 3)
        self.bn1 = nn.BatchNorm2d(6)
        self.bare = nn.Conv2d(6, 6, 1)
        self.after = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 4)
        with torch.no_grad():
            self.bn1.weight.copy_(torch.linspace(-1, 2, 6))
            self.bn2.weight.copy_(torch.linspace(3, -1, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        x = self.after(torch.relu(self.bare(x)))
        return self.linear(x.mean((2, 3)))


def test_the_norm_scale_is_of_the_norm_that_reads_the_layer(make_target: Any) -> None:
    saliency = saliency_of(make_target(Swapped().eval()))
    assert saliency.norms == {"conv1": "bn1", "conv2": "bn2"}
    groups = saliency.structure.groups
    model: Any = saliency.target.model
    for layer, norm in (("conv1", model.bn1), ("conv2", model.bn2)):
        found = channel_scores(saliency, groups[layer], "bn_scale")
        torch.testing.assert_close(found, relative(norm.weight.detach().abs()))
    bare = model.bare.weight.detach().abs().flatten(1).mean(1)
    torch.testing.assert_close(channel_scores(saliency, groups["bare"], "bn_scale"), relative(bare))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_random_differs_between_seeds_and_groups(chain: Saliency, nets: Any, make_target: Any) -> None:
    group = chain.structure.groups["conv1"]
    assert not torch.equal(
        channel_scores(chain, group, "random", 1), channel_scores(chain, group, "random", 2)
    )
    dense = saliency_of(make_target(nets["group-norm"].build()))
    groups = dense.structure.groups
    # Equal shapes, one seed: the draws must not be the same ones.
    assert not torch.equal(
        channel_scores(dense, groups["conv3"], "random", 1),
        channel_scores(dense, groups["conv4"], "random", 1),
    )
    assert not torch.equal(
        weight_scores(dense, "conv3", "random", 1), weight_scores(dense, "conv4", "random", 1)
    )


def test_producers_of_one_group_weigh_alike(nets: Any, make_target: Any) -> None:
    saliency = saliency_of(make_target(nets["residual"].build()))
    stem = weight(saliency, "stem").abs().flatten(1).sum(1)
    outer = weight(saliency, "outer").abs().flatten(1).sum(1)
    found = channel_scores(saliency, saliency.structure.groups["stem"], "l1")
    torch.testing.assert_close(found, relative(stem) + relative(outer))


def test_units_of_grouped_convolutions_sum_their_channels(nets: Any, make_target: Any) -> None:
    saliency = saliency_of(make_target(nets["grouped"].build()))
    w = weight(saliency, "grouped").abs().flatten(1).sum(1)
    expected = torch.stack([w[[unit + 4 * g for g in range(4)]].sum() for unit in range(4)])
    found = channel_scores(saliency, saliency.structure.groups["grouped"], "l1")
    torch.testing.assert_close(found, relative(expected))


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_transposed_convolutions_are_scored_by_output(make_target: Any, groups: int) -> None:
    class Up(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3 * groups, 6 * groups, 2, 2, groups=groups)
            self.linear = nn.Linear(6 * groups, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(torch.relu(self.up(x.repeat(1, groups, 1, 1))).mean((2, 3)))

    saliency = saliency_of(make_target(Up().eval(), 8))
    w = weight(saliency, "up")  # (in, out / groups, 2, 2)
    rows = []
    for channel in range(6 * groups):
        which, local = divmod(channel, 6)
        rows.append(w[which * 3 : which * 3 + 3, local])
    assert torch.equal(saliency.weight("up"), torch.stack(rows))
    group = ChannelGroup("up", 6 * groups, (Member("up", "out", tuple((c,) for c in range(6 * groups))),))
    scores = channel_scores(saliency, group, "l1")
    torch.testing.assert_close(scores, relative(torch.stack([row.abs().sum() for row in rows])))
    for criterion in ("taylor", "fisher", "bn_scale", "lamp", "random"):
        assert channel_scores(saliency, group, criterion).shape == (6 * groups,)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.data())
def test_kept_units_are_the_best_and_the_earlier_of_equals(scores: list[int], data: Any) -> None:
    kept = data.draw(st.integers(0, len(scores)))
    expected = sorted(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:kept])
    assert list(kept_units(torch.tensor(scores, dtype=torch.float64), kept)) == expected


def test_the_registry_holds_these() -> None:
    assert set(CRITERIA) == {"random", "l1", "l2", "bn_scale", "lamp", "taylor", "fisher", "reconstruction"}
    assert all(criterion.name == name for name, criterion in CRITERIA.items())
