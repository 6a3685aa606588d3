"""Tickets: exactly k weights of a random initialisation, none of them trained, and better than chance."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.audit.kinds.geometry import tickets
from leanfront.core.audit.kinds.geometry.tickets import (
    Popup,
    Ticket,
    found,
    initialised,
    kept_weights,
    reason_against,
)
from leanfront.core.audit.member import Member
from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.statistics.outputs import outputs
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.targets import Target, resolve
from leanfront.errors import UsageError

SEEN = 6_000


@pytest.fixture(scope="module")
def recoverable(tiny_file: object) -> Target:
    return resolve(f"{tiny_file}:recoverable")


@pytest.fixture(scope="module")
def member(recoverable: Target) -> Member:
    return Member(recoverable, derive(recoverable.model, recoverable.example_input), samples=128)


def test_the_popup_keeps_the_k_highest_scores_and_passes_gradients_through() -> None:
    weight = torch.tensor([[1.0, -2.0], [3.0, -4.0]])
    popup = Popup(weight, 2)
    popup.scores.data = torch.tensor([[0.1, -0.9], [0.5, 0.2]])
    made = popup(weight)
    assert torch.equal(made, torch.tensor([[0.0, -2.0], [3.0, 0.0]]))
    made.backward(torch.tensor([[1.0, 10.0], [100.0, 1000.0]]))
    # Of weight times |score|, as if nothing were masked.
    assert torch.equal(popup.scores.grad, torch.tensor([[1.0, 20.0], [300.0, -4000.0]]))


def test_a_ticket_is_a_choice_of_initial_weights(recoverable: Target, member: Member) -> None:
    counts = kept_weights(member.structure, 0.7)
    model = found(recoverable, counts, 200, seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(3)  # as the training begins
        first = initialised(recoverable.model, counts)
    for layer, kept in counts.items():
        weight, before = (each.get_submodule(layer).weight for each in (model, first))
        stays = weight != 0
        assert int(stays.sum()) == kept < weight.numel()
        assert torch.equal(weight[stays], before[stays])
        size = float(before.abs().max())
        assert torch.all(before.abs() == size)
        assert size == pytest.approx((2 / (weight[0].numel() * kept / weight.numel())) ** 0.5)
    assert not model.linear.bias.any()
    for norm in (model.bn1, model.bn2, model.bn3):
        assert torch.all(norm.weight == 1)
        assert not norm.bias.any()
    assert {name for name, _ in model.named_parameters()} == {
        name for name, _ in recoverable.model.named_parameters()
    }


def test_scores_are_what_is_learnt(recoverable: Target, member: Member) -> None:
    counts = kept_weights(member.structure, 0.7)
    one, two = (found(recoverable, counts, seen, seed=3) for seen in (1, SEEN))
    assert not torch.equal(one.conv3.weight != 0, two.conv3.weight != 0)


def test_a_ticket_costs_what_a_pruned_model_costs_and_answers_better_than_chance(
    recoverable: Target, member: Member
) -> None:
    module = Ticket(0.5, SEEN).module(member)
    layers = member.structure.layers
    pruned = member.compressor.materialise(Configuration(sparsity=dict.fromkeys(layers, 0.5))).module
    for layer in layers:
        kept = (int(each.get_submodule(layer).weight.count_nonzero()) for each in (module, pruned))
        assert len(set(kept)) == 1
    logits, labels = outputs(module, recoverable.validation, 100, torch.device("cpu"))
    assert float((logits.argmax(1) == labels).float().mean()) > 0.6  # chance: 0.25
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_ticket_is_found_once(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Ticket(0.6, 100).module(member)

    def never(*_: object, **__: object) -> nn.Module:
        raise AssertionError("it is in the cache")

    monkeypatch.setattr(tickets, "found", never)
    again = Ticket(0.6, 100).module(member)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    with pytest.raises(AssertionError):
        Ticket(0.6, 100, seed=1).module(member)


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.linear = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.flatten(1) * self.scale)
        return logits


def test_what_there_can_be_no_ticket_of_is_said(tiny: Target, recoverable: Target) -> None:
    assert "no train split" in str(reason_against(tiny))
    assert reason_against(recoverable) is None
    other = copy.copy(recoverable)
    object.__setattr__(other, "model", Bare())
    assert "(Bare) has parameters of its own" in str(reason_against(other))
    structure = Compressor(tiny).structure
    with pytest.raises(UsageError, match="the target has no train split"):
        Ticket(0.5, 10).module(Member(tiny, structure))
    with pytest.raises(UsageError, match="at least 1"):
        found(recoverable, kept_weights(structure, 0.5), 0, 0)
