"""Magnitude pruning, gradually and afterwards."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from leanfront.core.audit.gradual import (
    SHARES,
    GradualPruning,
    kept_by_magnitude,
    prunable,
    schedule,
)
from leanfront.core.targets import Target
from leanfront.core.targets import digits as digits_module
from leanfront.core.targets.weights_cache import weights_of
from leanfront.errors import UsageError

DIGITS_WEIGHTS = ["conv1.weight", "conv2.weight", "block.conv1.weight", "block.conv2.weight", "conv3.weight"]
"""All but norms and the classifier."""


@torch.no_grad()
def pruned_after_training(model: nn.Module, sparsity: float) -> nn.Module:
    """A copy with every prunable tensor at that sparsity by magnitude."""
    pruned = copy.deepcopy(model)
    for weight in prunable(pruned).values():
        weight.masked_fill_(~kept_by_magnitude(weight, sparsity), 0.0)
    return pruned


def zeros_of(model: nn.Module) -> dict[str, float]:
    """Share of zeros in each prunable tensor."""
    return {name: float((weight == 0).double().mean()) for name, weight in prunable(model).items()}


def zeros_overall(model: nn.Module) -> float:
    """Share of zeros in all prunable tensors together."""
    every = [weight.flatten() for weight in prunable(model).values()]
    return float((torch.cat(every) == 0).double().mean())


def test_levels_are_the_papers() -> None:
    assert SHARES == (0.1, 0.3, 0.5, 0.7, 0.9)


@pytest.mark.parametrize(
    ("progress", "sparsity"),
    [
        (0.0, 0.1),
        (0.2, 0.1),
        (0.3, 0.9 - 0.8 * 0.421875),  # a quarter of the way: (3/4)^3
        (0.4, 0.8),  # half way: 0.9 - 0.8 / 8
        (0.6, 0.9),
        (1.0, 0.9),
    ],
)
def test_schedule_is_the_closed_form(progress: float, sparsity: float) -> None:
    assert schedule(progress, 0.9, 0.1, 0.2, 0.6) == pytest.approx(sparsity, abs=1e-12)


def test_schedule_defaults_are_the_audited_codes() -> None:
    assert schedule(5000 / 32000, 0.9) == 0
    assert schedule(6500 / 32000, 0.9) == pytest.approx(0.9 * 7 / 8)
    assert schedule(8000 / 32000, 0.9) == 0.9


@given(
    weights=st.lists(st.integers(-6, 6), min_size=1, max_size=40),
    sparsity=st.floats(0, 1, exclude_max=True),
)
def test_kept_weights_by_sorting(weights: list[int], sparsity: float) -> None:
    """Against the definition: at least the k-th largest stays, with all its equals."""
    k = max(1, round(len(weights) * (1 - sparsity)))
    threshold = sorted((abs(weight) for weight in weights), reverse=True)[k - 1]
    mask = kept_by_magnitude(torch.tensor(weights, dtype=torch.float32), sparsity)
    assert mask.tolist() == [abs(weight) >= threshold for weight in weights]
    assert int(mask.sum()) >= k


def test_ties_stay_and_something_always_does() -> None:
    assert kept_by_magnitude(torch.tensor([[1.0, -1.0], [1.0, 0.5]]), 0.75).tolist() == [
        [True, True],
        [True, False],
    ]
    # k = round(3 (1 - 0.9)) = 0
    assert kept_by_magnitude(torch.tensor([0.1, -0.3, 0.2]), 0.9).tolist() == [False, True, False]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.up = nn.ConvTranspose2d(4, 4, 2)
        self.norm = nn.BatchNorm2d(4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)
        self.two.weight = self.one.weight


def test_which_weights_are_pruned() -> None:
    every = [
        "conv.weight",
        "up.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "one.weight",
    ]
    assert list(prunable(Net())) == every
    assert list(prunable(Net(), classifier=True)) == [*every, "head.weight"]
    assert list(prunable(Net(), skip=["conv", "attention"])) == ["up.weight", "one.weight"]
    # Shared with a layer that stays dense.
    assert "one.weight" not in prunable(Net(), skip=["two"])
    tied = Net()
    tied.head = tied.two
    assert "one.weight" not in prunable(tied)


def test_what_cannot_be_pruned_is_said() -> None:
    with pytest.raises(UsageError, match="the model has no module 'cnov'; it has conv, up"):
        prunable(Net(), skip=["cnov"])
    with pytest.raises(UsageError, match="no convolution or linear layer to prune"):
        prunable(nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    for bad in ({"final": 1.0}, {"final": 0.0}, {"final": 0.5, "initial": 0.6}):
        with pytest.raises(UsageError, match="give 0 <= initial <= final < 1"):
            GradualPruning(**bad)
    for bad in ({"begin": 0.5, "end": 0.5}, {"end": 1.1}, {"every": 0.0}, {"begin": -0.1}):
        with pytest.raises(UsageError, match="0 <= begin < end <= 1 and 0 < every"):
            GradualPruning(0.5, **bad)


@pytest.mark.parametrize("level", SHARES)
def test_post_training_form(digits: Target, level: float) -> None:
    before = digits.dense_state
    pruned = pruned_after_training(digits.model, level)
    assert all(torch.equal(tensor, before[name]) for name, tensor in digits.dense_state.items())
    state = pruned.state_dict()
    for name, dense in before.items():
        if name not in DIGITS_WEIGHTS:
            assert torch.equal(state[name], dense)  # norms, their statistics, the classifier
            continue
        zero = state[name] == 0
        assert int(zero.sum()) == dense.numel() - round(dense.numel() * (1 - level))
        assert torch.equal(state[name][~zero], dense[~zero])
        assert dense[zero].abs().max() < dense[~zero].abs().min()
    assert list(zeros_of(pruned)) == DIGITS_WEIGHTS
    assert zeros_overall(pruned) == pytest.approx(level, abs=1e-3)


def test_sparsity_zero_changes_nothing(digits: Target) -> None:
    state = pruned_after_training(digits.model, 0.0).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in digits.dense_state.items())


def test_masks_over_a_training_of_hundred_steps() -> None:
    """Weights that are changed at random between the calls, as an optimiser would."""
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 2))
    pruning = GradualPruning(0.8, 0.2, begin=0.1, end=0.5, every=0.1)
    generator = torch.Generator().manual_seed(0)
    zeros: list[int] = []
    gone = torch.zeros(10, 10, dtype=torch.bool)
    for done in range(1, 101):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        pruning(model, done / 100)
        zero = model[0].weight == 0
        assert not bool((gone & ~zero).any())  # none comes back
        gone = zero
        zeros.append(int(zero.sum()))
    assert [progress for progress, _ in pruning.updates] == [0.1, 0.2, 0.3, 0.4, 0.5]
    wanted = [schedule(progress, 0.8, 0.2, 0.1, 0.5) for progress in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert [sparsity for _, sparsity in pruning.updates] == wanted
    assert zeros[8] == 0
    assert [zeros[place] for place in (9, 19, 29, 39, 49)] == [100 - round(100 * (1 - s)) for s in wanted]
    assert zeros[18] == zeros[9]  # between two updates
    assert zeros[-1] == 80
    assert not bool((model[1].weight == 0).any())
    assert not bool((model[0].bias == 0).any())
    assert zeros_of(model) == {"0.weight": pytest.approx(0.8)}


def test_the_end_is_reached_whatever_the_steps_are() -> None:
    for steps in (1, 2, 3, 7):
        model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 2))
        pruning = GradualPruning(0.7, begin=0.3, end=0.4, every=0.5)
        for done in range(1, steps + 1):
            pruning(model, done / steps)
        assert pruning.updates[-1][1] == 0.7
        assert zeros_overall(model) == pytest.approx(0.7)


def test_one_object_prunes_one_training() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 2))
    pruning = GradualPruning(0.7)
    pruning(model, 0.5)
    for progress in (0.5, 0.1, 1.1):
        with pytest.raises(UsageError, match="make a new GradualPruning for each training"):
            pruning(model, progress)


def test_keys_tell_settings_apart() -> None:
    made = [
        GradualPruning(0.9),
        GradualPruning(0.7),
        GradualPruning(0.9, 0.1),
        GradualPruning(0.9, begin=0.1),
        GradualPruning(0.9, end=0.5),
        GradualPruning(0.9, every=0.5),
        GradualPruning(0.9, skip=["conv1"]),
        GradualPruning(0.9, classifier=True),
    ]
    assert len({pruning.key for pruning in made}) == len(made)
    assert made[0].key.startswith("gradual-0.9 ")
    assert GradualPruning(0.9).key == made[0].key


def same(one: nn.Module, other: nn.Module) -> bool:
    weights = weights_of(other)
    return all(torch.equal(tensor, weights[name]) for name, tensor in weights_of(one).items())


def test_in_a_short_training_of_digits(
    digits: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(digits_module, "EPOCHS", 2)
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path))

    def pruned(seed: int) -> tuple[nn.Module, GradualPruning]:
        pruning = GradualPruning(0.9)
        return digits.retrained(seed, pruning, pruning.key), pruning

    first, pruning = pruned(0)
    assert [round(progress * 32) for progress, _ in pruning.updates] == [5, 6, 7, 8]  # 32 steps
    for name in DIGITS_WEIGHTS:
        weight = first.get_parameter(name)
        assert int((weight != 0).sum()) == round(weight.numel() * (1 - 0.9))
    assert zeros_overall(first) == pytest.approx(0.9, abs=1e-3)
    again, unused = pruned(0)
    assert unused.updates == []  # from the cache, not trained
    assert same(first, again)
    assert not same(first, pruned(1)[0])
    (tmp_path / "retrained").rename(tmp_path / "away")
    assert same(first, pruned(0)[0])


def test_ninety_percent_of_digits_can_go_while_it_trains(digits: Target) -> None:
    pruning = GradualPruning(0.9)
    inputs, labels = digits.test.tensors()

    def accuracy(model: nn.Module) -> float:
        with torch.no_grad():
            return float((model(inputs).argmax(1) == labels).float().mean())

    model = digits.retrained(0, pruning, pruning.key)
    assert zeros_overall(model) == pytest.approx(0.9, abs=1e-3)
    assert accuracy(model) > 0.9
    # Afterwards it cannot.
    assert accuracy(pruned_after_training(digits.model, 0.9)) < 0.5
