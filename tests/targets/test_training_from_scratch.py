"""The loop that trains built-in networks from scratch."""

from __future__ import annotations

import math
import pickle
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.targets import Split
from leanfront.core.targets import training_from_scratch as module
from leanfront.core.targets.augmentation import CropAndFlip
from leanfront.core.targets.training_from_scratch import SCHEDULES, Recipe, ScratchTraining, train
from leanfront.core.targets.weights_cache import weights_of
from leanfront.errors import TargetError


def images(count: int = 45, seed: int = 0) -> Split:
    """Two classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    return Split.of(
        "train", (torch.randn(count, 1, 4, 4, generator=generator) + labels[:, None, None, None], labels)
    )


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(64, 2),
    )


SHORT = Recipe(2, batch_size=11)


def same(one: nn.Module, other: nn.Module) -> bool:
    weights = weights_of(other)
    return all(torch.equal(tensor, weights[name]) for name, tensor in weights_of(one).items())


def test_it_repeats_and_disturbs_nothing() -> None:
    data, state = images(), torch.random.get_rng_state()
    first = train(network, data, SHORT, 0, augment=CropAndFlip(1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert same(first, train(network, data, SHORT, 0, augment=CropAndFlip(1)))
    assert not same(first, train(network, data, SHORT, 1, augment=CropAndFlip(1)))
    assert not same(first, train(network, data, SHORT, 0))
    assert not any(part.training for part in first.modules())


def test_it_learns() -> None:
    model = train(network, images(), Recipe(10, batch_size=16), 0)
    inputs, labels = images(200, 1).tensors()
    with torch.no_grad():
        assert float((model(inputs).argmax(1) == labels).float().mean()) > 0.9


def test_against_the_loop_written_out() -> None:
    """One epoch of SGD by hand: momentum, decay and schedule are where they should be."""
    data = images(12)
    inputs, labels = data.tensors()

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))

    found = train(build, data, Recipe(2, 4, 0.3, weight_decay=0.1, label_smoothing=0.2), 5)
    torch.manual_seed(5)
    model = build()
    velocity = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for done in range(6):
        if done % 3 == 0:
            order = torch.randperm(12)
        batch = order[4 * (done % 3) : 4 * (done % 3) + 4]
        loss = functional.cross_entropy(model(inputs[batch]), labels[batch], label_smoothing=0.2)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        rate = 0.3 * 0.5 * (1 + math.cos(math.pi * done / 6))  # six steps are too few for a rise
        with torch.no_grad():
            for parameter, gradient, moving in zip(model.parameters(), gradients, velocity, strict=True):
                gradient = gradient + 0.1 * parameter
                moving.mul_(0.9).add_(gradient)
                parameter.sub_(rate * (gradient + 0.9 * moving))
    for one, other in zip(found.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_rise_to_the_rate_and_fall(name: str) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.4, 0.9)
    schedule = SCHEDULES[name](optimiser, 0.4, 100)
    rates = []
    for _ in range(100):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(0.4)
    assert rates[0] < 0.1
    assert rates[-1] < 0.001
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_the_step_sees_every_step() -> None:
    seen: list[tuple[float, bool]] = []

    def step(model: nn.Module, progress: float) -> None:
        seen.append((progress, model.training))

    train(network, images(), SHORT, 0, step=step)
    # 45 samples in batches of 11: the fifth would hold one sample, and joins the fourth.
    assert seen == [(done / 8, True) for done in range(1, 9)]


def test_all_samples_are_seen_once_an_epoch() -> None:
    seen: list[Tensor] = []

    def note(inputs: Tensor) -> Tensor:
        seen.append(inputs)
        return inputs

    data = images()
    train(network, data, SHORT, 0, augment=note)
    assert [len(batch) for batch in seen] == [11, 11, 11, 12] * 2
    for epoch in (seen[:4], seen[4:]):
        rows = torch.cat(epoch).flatten(1)
        assert torch.equal(rows.sort(0).values, data.tensors()[0].flatten(1).sort(0).values)
    assert not torch.equal(seen[0], seen[4])


def test_inputs_too_large_for_memory_are_read_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    data = images()
    expected = train(network, data, SHORT, 0)
    monkeypatch.setattr(module, "CACHE_LIMIT", 100)
    assert same(expected, train(network, data, SHORT, 0))


def test_too_few_samples_and_divergence_are_said() -> None:
    with pytest.raises(TargetError, match=r"train has 1 sample\(s\): training from scratch needs at least 2"):
        train(network, images(1), SHORT, 0)

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.Linear(64, 64), nn.Linear(64, 2))

    with pytest.raises(TargetError, match=r"seed 3 diverged in epoch \d: the loss is (nan|inf)"):
        train(build, images(), Recipe(9, 4, 1e4), 3)


def test_as_a_targets_retrain(monkeypatch: pytest.MonkeyPatch) -> None:
    training = ScratchTraining(network, images(), SHORT, CropAndFlip(1), "cpu")
    assert same(training(3), train(network, images(), SHORT, 3, augment=CropAndFlip(1)))
    assert same(pickle.loads(pickle.dumps(training))(3), training(3))
    assert pickle.loads(pickle.dumps(training)).recipe == training.recipe
    others = [
        ScratchTraining(network, images(), Recipe(3, batch_size=11), CropAndFlip(1)),
        ScratchTraining(network, images(), SHORT, CropAndFlip(2)),
    ]
    assert len({training.recipe, *(other.recipe for other in others)}) == 3
    absent = ScratchTraining(partial(network), images(), SHORT, None, f"cuda:{torch.cuda.device_count()}")
    with pytest.raises(TargetError, match=r"device=cuda:\d+: PyTorch finds \d+ CUDA device"):
        absent(0)
