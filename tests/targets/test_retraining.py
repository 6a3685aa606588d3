"""Targets trained anew and re-calibrated."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.targets import Target
from leanfront.core.targets.retraining import Step, recipe_of, takes_step
from leanfront.core.targets.weights_cache import raw_bytes, weights_of
from leanfront.errors import TargetError, UsageError

STEPS = 6


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 5, generator=generator)
    return inputs, (inputs[:, 0] > 0).long()


def network(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 2))


class Training:
    """Trains a small network and counts the steps that it took, over all calls."""

    def __init__(self, recipe: str | None = "training 1") -> None:
        self.steps = 0
        if recipe is not None:
            self.recipe = recipe

    def __call__(self, seed: int, step: Step | None = None) -> nn.Module:
        torch.manual_seed(seed)
        model, (inputs, labels) = network(), data(40, 7)
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        for done in range(1, STEPS + 1):
            optimiser.zero_grad()
            functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
            self.steps += 1
            if step is not None:
                step(model, done / STEPS)
        return model


def plain(seed: int) -> nn.Module:
    """A user's function without a step."""
    torch.manual_seed(seed)
    return network()


def longer(seed: int, epochs: int = 2) -> nn.Module:
    return plain(seed)


def with_step(seed: int, *, step: Step | None = None) -> nn.Module:
    return plain(seed)


def opaque(seed: int, data: Any = data(9, 9)) -> nn.Module:  # noqa: B008 - users write it
    return plain(seed)


def make(retrain: Any = None, **changes: Any) -> Target:
    torch.manual_seed(0)
    given: dict[str, Any] = {
        "model": network(),
        "example_input": torch.zeros(1, 5),
        "calibration": data(20, 1),
        "validation": data(30, 2),
    }
    return Target(**{**given, "retrain": retrain, **changes})


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache; gives the folder in which retrained weights lie."""
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path))
    return tmp_path / "retrained"


def same(one: nn.Module, other: nn.Module) -> bool:
    weights = weights_of(other)
    return all(torch.equal(tensor, weights[name]) for name, tensor in weights_of(one).items())


def test_seeds_give_different_models_and_the_same_one_again() -> None:
    training = Training()
    target = make(training)
    before, state = target.dense_state, torch.random.get_rng_state()
    first, other = target.retrained(0), target.retrained(1)
    assert training.steps == 2 * STEPS
    assert not same(first, other)
    assert not same(first, target.model)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.dense_state.items())
    assert not any(module.training for module in first.modules())
    expected = training(0).eval()
    assert same(first, expected)
    inputs, _ = target.validation.tensors()
    with torch.no_grad():
        torch.testing.assert_close(first(inputs), expected(inputs))


def test_what_is_kept_is_not_trained_again(cache: Path) -> None:
    training = Training()
    target = make(training)
    first = target.retrained(0)
    assert training.steps == STEPS
    again = target.retrained(0)
    assert training.steps == STEPS
    assert same(first, again)
    assert again is not first
    with torch.no_grad():
        again[0].weight.zero_()
    assert same(first, target.retrained(0))
    # Another process, with the same target made again.
    assert same(first, make(training).retrained(0))
    assert training.steps == STEPS
    assert len(list(cache.iterdir())) == 1


def test_kept_apart_by_all_that_decides_the_weights(cache: Path) -> None:
    training = Training()
    target = make(training)

    def zero(model: nn.Module, progress: float) -> None:
        with torch.no_grad():
            model[0].weight[0] = 0.0

    plain_one = target.retrained(0)
    pruned = target.retrained(0, zero, "zero")
    assert not pruned[0].weight[0].any()
    assert not same(plain_one, pruned)
    assert same(pruned, target.retrained(0, zero, "zero"))
    assert training.steps == 2 * STEPS
    target.retrained(0, zero, "other")
    make(training, validation=data(31, 2)).retrained(0)
    training.recipe = "training 2"
    target.retrained(0)
    assert training.steps == 5 * STEPS
    assert len(list(cache.iterdir())) == 5


def test_a_step_without_a_key_is_not_kept(cache: Path) -> None:
    training = Training()
    target = make(training)
    seen: list[float] = []
    for _ in range(2):
        target.retrained(0, lambda _, progress: seen.append(progress))
    assert training.steps == 2 * STEPS
    assert seen == [done / STEPS for done in range(1, STEPS + 1)] * 2
    assert not cache.exists()


def test_a_damaged_file_is_trained_anew(cache: Path) -> None:
    training = Training()
    target = make(training)
    first = target.retrained(0)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    for damaged in (whole[:-50], b"nonsense", whole[:-1] + bytes([whole[-1] ^ 64])):
        kept.write_bytes(damaged)
        before = training.steps
        assert same(first, target.retrained(0))
        assert training.steps == before + STEPS
        assert kept.read_bytes() == whole


def test_an_unwritable_cache_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path / "file"))
    training = Training()
    target = make(training)
    assert same(target.retrained(0), target.retrained(0))
    assert training.steps == 2 * STEPS


def test_functions_of_a_file_are_kept_by_its_content(cache: Path) -> None:
    target = make(plain)
    assert same(target.retrained(3), target.retrained(3))
    assert len(list(cache.iterdir())) == 1
    named = recipe_of(target)
    assert named is not None
    assert recipe_of(target.referred("file.py:target?epochs=3")) != named

    assert len({named, recipe_of(make(longer)), recipe_of(make(with_step))}) == 3
    assert recipe_of(make(opaque)) is None

    calls: list[int] = []

    def closure(seed: int) -> nn.Module:
        calls.append(seed)
        return plain(seed)

    # Nobody can say what a closure would train.
    other = make(closure)
    assert recipe_of(other) is None
    assert same(other.retrained(3), other.retrained(3))
    assert calls == [3, 3]
    assert len(list(cache.iterdir())) == 1


def test_a_function_that_forgets_to_seed_is_seeded() -> None:
    target = make(Training("unseeded"))
    unseeded = make(lambda seed: network())
    assert same(unseeded.retrained(5), unseeded.retrained(5))
    assert not same(unseeded.retrained(5), unseeded.retrained(6))
    assert same(target.retrained(5), target.retrained(5))


def test_inference_mode_does_not_reach_the_training() -> None:
    training = Training()
    target = make(training)
    for _ in range(2):  # the second is read
        with torch.inference_mode():
            model = target.retrained(0)
        assert not any(tensor.is_inference() for tensor in weights_of(model).values())
    assert training.steps == STEPS


def test_double_precision_and_training_mode_are_put_right() -> None:
    def retrain(seed: int) -> nn.Module:
        return plain(seed).double().train()

    model = make(retrain).retrained(1)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training


def test_whether_a_step_is_taken() -> None:
    assert takes_step(Training())
    assert takes_step(lambda seed, *, step=None: network())
    assert not takes_step(plain)
    assert not takes_step(lambda seed, **others: network())
    assert not takes_step(lambda seed, *step: network())


def fails(seed: int) -> nn.Module:
    raise RuntimeError("out of wool")


class Shifted(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


def nan(seed: int) -> nn.Module:
    model = network()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    return model


BAD: dict[str, tuple[Callable[[int], Any], str]] = {
    "raises": (fails, r"retrain\(seed=2\) failed: RuntimeError: out of wool"),
    "nothing": (lambda seed: None, r"retrain\(seed=2\) returned a NoneType, not a torch.nn.Module"),
    "state": (lambda seed: network().state_dict(), "returned a OrderedDict"),
    "classes": (lambda seed: nn.Linear(5, 3), "returned a model of 3 class scores; the target has 2 classes"),
    "inputs": (
        lambda seed: nn.Linear(6, 2),
        r"retrain\(seed=2\): the model fails on the first 16 calibration",
    ),
    "width": (
        lambda seed: network(9),
        r"another architecture.*: 0\.bias, 0\.weight, .* and 3 more differ in name",
    ),
    "forward": (lambda seed: Shifted(*network()), "its weights in the target's model give other scores"),
    "NaN": (nan, "NaN or infinite for 16 of 16 sample"),
}


@pytest.mark.parametrize(("retrain", "message"), BAD.values(), ids=BAD.keys())
def test_what_comes_back_is_checked(retrain: Any, message: str, cache: Path) -> None:
    with pytest.raises(TargetError, match=message):
        make(retrain).retrained(2)
    assert not cache.exists()


def test_weights_that_the_outputs_do_not_show_are_checked() -> None:
    def retrain(seed: int) -> nn.Module:
        model = plain(seed)
        with torch.no_grad():  # a dead unit hides its bias
            model[0].bias[0] = -float("inf")
            model[1].running_mean[0] = 0
        return model

    with pytest.raises(TargetError, match="NaN or infinite"):
        make(retrain).retrained(2)


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(TargetError, match=r"'Sequential' cannot be trained anew: give Target\(retrain=...\)"):
        make().retrained(0)
    with pytest.raises(
        TargetError, match=r"takes no step.*def retrain.seed, step=None.*step.model, progress"
    ):
        make(plain).retrained(0, lambda model, progress: None)
    with pytest.raises(UsageError, match="key 'x' is of a step, but there is none"):
        make(Training()).retrained(0, key="x")
    for seed in (-1, 1.5, True, "0"):
        with pytest.raises(UsageError, match=r"seed is .*; give a whole number from 0"):
            make(Training()).retrained(seed)


@pytest.mark.parametrize(
    ("retrain", "message"),
    [
        ("train.py", "retrain is a str; give a function of a seed"),
        (lambda: network(), "cannot be called with a seed alone"),
        (
            lambda seed, data: network(),
            r"cannot be called with a seed alone \(missing a required argument: 'data'",
        ),
    ],
)
def test_what_cannot_be_a_retrain_is_refused_at_the_door(retrain: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        make(retrain)


def test_a_target_keeps_it_outside_its_fingerprint() -> None:
    target = make(plain)
    assert target.retrain is plain
    assert target.referred("here").retrain is plain
    assert pickle.loads(pickle.dumps(target)).retrain is not None
    assert make().retrain is None
    assert make().fingerprint == target.fingerprint


def test_recalibrated_changes_calibration_alone() -> None:
    target = make(plain)
    before = target.fingerprint
    indices = [3, 3, 0, 19]
    other = target.recalibrated(indices)
    inputs, labels = target.calibration.tensors()
    assert torch.equal(other.calibration.tensors()[0], inputs[indices])
    assert torch.equal(other.calibration.labels, labels[indices])
    assert other.calibration.name == "calibration"
    assert other.model is target.model
    assert other.validation is target.validation
    assert other.retrain is plain
    assert (target.fingerprint, len(target.calibration)) == (before, 20)
    assert other.fingerprint != before
    assert target.recalibrated(torch.tensor(indices)).fingerprint == other.fingerprint
    assert target.recalibrated(range(20)).fingerprint == before
    assert target.recalibrated([0, 3, 3, 19]).fingerprint not in (before, other.fingerprint)


def test_recalibrated_with_another_model() -> None:
    target = make(plain)
    target.fingerprint  # noqa: B018 - it is remembered, and must not be for the other
    model = plain(4).double().train()
    other = target.recalibrated([1, 2], model)
    assert other.model is not model
    assert model.training
    assert not other.model.training
    assert raw_bytes(other.model.state_dict()["0.weight"]) == raw_bytes(model[0].weight.float())
    assert len({target.fingerprint, other.fingerprint, target.recalibrated([1, 2]).fingerprint}) == 3


def test_bad_recalibrations() -> None:
    target = make()
    with pytest.raises(TargetError, match="no indices; give at least one"):
        target.recalibrated([])
    with pytest.raises(UsageError, match="calibration has 20 samples: there is none at 20"):
        target.recalibrated([0, 20])
    with pytest.raises(UsageError, match="there is none at -1"):
        target.recalibrated([-1])
    with pytest.raises(TargetError, match="model is a OrderedDict, not a"):
        target.recalibrated([0], network().state_dict())  # type: ignore[arg-type]
    with pytest.raises(TargetError, match=r"another architecture than the target's: 0.bias differs"):
        target.recalibrated([0], network(9))
