"""The built-in digits: data, training, cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from sklearn import datasets

from leanfront.core.targets import Target, resolve
from leanfront.core.targets import digits as digits_module
from leanfront.core.targets.digits import DigitsNet, build, load_digits, retrain, train_network
from leanfront.core.targets.weights_cache import write_weights
from leanfront.errors import UsageError


def accuracy(target: Target, split: str) -> float:
    inputs, labels = target.splits[split].tensors()
    with torch.no_grad():
        return float((target.model(inputs).argmax(1) == labels).float().mean())


def test_is_as_good_and_small_as_promised(digits: Target) -> None:
    assert accuracy(digits, "test") >= 0.97
    assert accuracy(digits, "validation") >= 0.97
    parameters = sum(parameter.numel() for parameter in digits.model.parameters())
    assert parameters == 52_842 <= 60_000
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in digits.model.modules())


def test_splits_are_a_stratified_partition(digits: Target) -> None:
    assert {name: len(split) for name, split in digits.splits.items()} == {
        "calibration": 256,
        "validation": 400,
        "test": 397,
        "train": 744,
    }
    assert digits.cuts == ()
    together = torch.cat([split.labels for split in digits.splits.values()])
    assert together.bincount().tolist() == [
        int((datasets.load_digits().target == d).sum()) for d in range(10)
    ]
    for split in digits.splits.values():
        counts = split.labels.bincount(minlength=10)
        assert int(counts.max() - counts.min()) <= 12


def test_data_are_scikit_learns() -> None:
    images, labels = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    assert abs(float(images.mean())) < 1e-3
    assert abs(float(images.std()) - 1) < 1e-3
    torch.testing.assert_close(
        (images * 6.017 + 4.884)[:, 0].round(), torch.from_numpy(datasets.load_digits().images).float()
    )
    assert labels.tolist() == datasets.load_digits().target.tolist()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One epoch, and a cache of its own."""
    monkeypatch.setattr(digits_module, "EPOCHS", 1)
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


def test_training_repeats_and_disturbs_nothing(quick: Path) -> None:
    images, labels = load_digits()
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first = train_network(images[:200], labels[:200], 0)
    torch.set_num_threads(2)
    try:
        assert same(first, train_network(images[:200], labels[:200], 0))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert not same(first, train_network(images[:200], labels[:200], 1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert not first.training


def test_weights_are_kept_and_read_again(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("digits", {})
    (kept,) = quick.iterdir()
    assert kept.suffix == ".safetensors"
    assert torch.__version__ in kept.name

    def never(*_: object) -> DigitsNet:
        raise AssertionError("trained although the weights are kept")

    monkeypatch.setattr(digits_module, "train_network", never)
    again = build("digits", {})
    assert same(first.model, again.model)
    assert first.fingerprint == again.fingerprint


@pytest.mark.parametrize(
    "damage", ["truncated", "nonsense", "flipped bit", "unsigned", "other names", "NaN", "folder"]
)
def test_a_damaged_cache_is_made_anew(quick: Path, damage: str) -> None:
    first = build("digits", {})
    (kept,) = quick.iterdir()
    whole = kept.read_bytes()
    state = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
    if damage == "truncated":
        kept.write_bytes(whole[:-100])
    elif damage == "nonsense":
        kept.write_bytes(b"nonsense")
    elif damage == "flipped bit":
        kept.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    elif damage == "unsigned":
        safetensors.torch.save_file(state, kept)
    elif damage == "folder":
        kept.unlink()
        kept.mkdir()
    else:
        if damage == "NaN":
            state["conv1.weight"][0] = float("nan")
        else:
            state["other"] = state.pop("conv1.weight")
        write_weights(kept, kept.name, state)
    assert same(first.model, build("digits", {}).model)
    if damage != "folder":
        assert kept.read_bytes() == whole
    assert len(list(quick.iterdir())) == 1


def test_an_unwritable_cache_is_no_error(
    quick: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path / "file" / "below"))
    assert build("digits", {}).name == "digits"


def test_seeds(quick: Path) -> None:
    assert not same(build("digits", {}).model, build("digits", {"seed": "1"}).model)
    with pytest.raises(UsageError, match="seed is 'x'; give a whole number"):
        resolve("digits?seed=x")


def test_a_seed_is_the_same_network_by_both_names(quick: Path) -> None:
    target = build("digits", {})
    (kept,) = quick.iterdir()
    for seed in (0, 1):
        named = build("digits", {"seed": str(seed)}).model
        assert same(named, retrain(seed))
        assert same(named, target.retrained(seed))
    kept.unlink()
    assert same(target.model, retrain(0))  # trained again, not read


def test_a_step_sees_every_step_and_is_not_kept(quick: Path) -> None:
    seen: list[float] = []
    model = retrain(0, lambda _, progress: seen.append(progress))
    assert seen == [(number + 1) / 16 for number in range(16)]  # 1,000 samples in batches of 64
    assert not quick.exists()
    assert same(model, retrain(0))


def test_pixels_are_grey_levels(digits: Target) -> None:
    assert digits.pixels is not None
    for split in digits.splits.values():
        levels = digits.pixels.of(split.tensors()[0]) * 16
        torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
        assert (levels.min().round(), levels.max().round()) == (0, 16)
