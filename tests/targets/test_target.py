"""What a target is, and what it refuses at the door."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from leanfront.core.targets import Split, Target
from leanfront.core.targets.pad_shortcut import PadShortcut
from leanfront.errors import TargetError


def data(count: int = 40, seed: int = 0, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=generator), torch.arange(count) % classes


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def make(**changes: Any) -> Target:
    given: dict[str, Any] = {
        "model": network(),
        "example_input": torch.zeros(2, 5),
        "validation": data(seed=1),
        "calibration": data(seed=2),
        "test": data(seed=3),
        "train": data(seed=4),
    }
    return Target(**{**given, **changes})


class Fixed(nn.Module):
    """Answers with whatever the function makes of the inputs."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def test_holds_a_private_copy_in_eval_mode() -> None:
    model = network().double()
    before = copy.deepcopy(model.state_dict())
    target = make(model=model)
    assert model.training
    assert not any(module.training for module in target.model.modules())
    assert target.model is not model
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.dtype == torch.float32 for p in target.model.parameters())
    assert target.example_input.shape == (1, 5)
    assert target.classes == ("0", "1", "2", "3")
    assert target.cuts == ()
    assert target.task == "classification"
    assert list(target.splits) == ["calibration", "validation", "test", "train"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        target.name = "other"  # type: ignore[misc]
    target.dense_state["0.weight"].zero_()
    assert target.model.state_dict()["0.weight"].any()


def test_optional_splits_may_be_absent() -> None:
    target = make(test=None, train=None)
    assert target.test is None
    assert target.train is None


def test_referred_changes_the_words_only() -> None:
    target = make()
    named = target.referred("here.py:target", "mine")
    assert (named.reference, named.name) == ("here.py:target", "mine")
    assert target.reference is None
    assert named.fingerprint == target.fingerprint
    assert dataclasses.replace(named, name="third").reference == "here.py:target"


def test_calibration_is_cut_from_train_and_said() -> None:
    target = make(calibration=None, train=data(10_000, seed=4))
    assert target.cuts == ("calibration: 512 samples cut from train, which keeps 9488",)
    assert target.train is not None
    assert (len(target.calibration), len(target.train)) == (512, 9488)
    assert target.calibration.labels.bincount().tolist() == [128] * 4
    assert not set(target.calibration.places()) & set(target.train.places())
    again = make(calibration=None, train=data(10_000, seed=4))
    assert torch.equal(again.calibration.tensors()[0], target.calibration.tensors()[0])


def test_calibration_is_cut_from_validation_without_train() -> None:
    target = make(calibration=None, train=None)
    assert target.cuts == ("calibration: 10 samples cut from validation, which keeps 30",)
    assert not set(target.calibration.places()) & set(target.validation.places())
    assert target.calibration.name == "calibration"


def test_too_little_to_cut_from() -> None:
    with pytest.raises(TargetError, match=r"validation: has 3 sample.*too few to cut a calibration"):
        make(calibration=None, train=None, validation=data(3))


def test_fingerprint_is_stable_and_tells_targets_apart() -> None:
    target = make()
    assert re.fullmatch("[0-9a-f]{64}", target.fingerprint)
    assert make().fingerprint == target.fingerprint
    assert pickle.loads(pickle.dumps(target)).fingerprint == target.fingerprint
    other = network()
    with torch.no_grad():
        other[0].weight[3, 2] += 1e-6
    variants = [
        make(model=other),
        make(model=nn.Sequential(*network()[:2], nn.GELU(), network()[3])),
        make(validation=data(seed=11)),
        make(calibration=data(seed=12)),
        make(test=None),
        make(train=data(36, seed=4)),
        make(classes=list("abcd")),
    ]
    assert len({target.fingerprint, *(variant.fingerprint for variant in variants)}) == len(variants) + 1


def test_fingerprint_sees_buffers_outside_the_state_dict() -> None:
    def shortcut(index: list[int]) -> Target:
        pad = PadShortcut(1, 2, 1)
        pad.index = torch.tensor(index, dtype=torch.int16)
        model = nn.Sequential(nn.Unflatten(1, (1, 1, 5)), pad, nn.Flatten(), nn.Linear(10, 4))
        nn.init.ones_(model[3].weight)
        nn.init.zeros_(model[3].bias)
        return make(model=model)

    assert shortcut([0, -1]).fingerprint != shortcut([-1, 0]).fingerprint


class Raw(Dataset[Any]):
    """Opaque: only the protocol."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.pairs = list(zip(inputs, labels.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        return self.pairs[index]


def test_the_same_samples_of_one_dataset_overlap() -> None:
    raw = Raw(*data(100))
    with pytest.raises(TargetError, match=r"validation and test overlap: 10 sample\(s\) are the very same"):
        make(validation=Subset(raw, range(60)), test=Subset(raw, range(50, 100)))
    nested = Subset(Subset(raw, range(20, 100)), range(80))
    with pytest.raises(TargetError, match="validation and test overlap"):
        make(validation=Subset(raw, range(30)), test=nested)
    split = Split.of("any", data(40))
    with pytest.raises(TargetError, match="validation and test overlap: 40"):
        make(validation=split, test=split)
    make(validation=Subset(raw, range(50)), test=Subset(raw, range(50, 100)))


def test_equal_content_overlaps() -> None:
    with pytest.raises(
        TargetError, match=r"calibration and train overlap: 40 sample\(s\) have the same content"
    ):
        make(train=data(seed=2))


def test_image_folders_of_the_same_files_overlap(write_tree: Any, tmp_path: Path) -> None:
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    first, second = (
        ImageFolder(str(write_tree(tmp_path / name, ("a", "b"), per_class=4) / "a"), transform)
        for name in ("one", "two")
    )
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    rest = {"model": model, "example_input": torch.zeros(1, 3, 8, 8), "calibration": None, "train": None}
    again = ImageFolder(first.root, transform)
    with pytest.raises(TargetError, match=r"validation and test overlap: 12 sample\(s\) are the same files"):
        make(validation=first, test=again, **rest)
    other = ImageFolder(first.root[:-1] + "b", transform)
    assert make(validation=first, test=other, **rest).classes == ("0", "1", "2")
    # The same tree in another place is the same split.
    assert Split.of("test", first).digest == Split.of("test", second).digest
    assert Split.of("test", first).digest != Split.of("test", other).digest


@pytest.mark.parametrize(("shared", "refused"), [(9, False), (10, True)])
def test_a_few_natural_duplicates_are_only_warned_of(shared: int, refused: bool) -> None:
    validation, test = data(1000, seed=1), data(2000, seed=3)
    test[0][-shared:] = validation[0][:shared]
    if refused:
        with pytest.raises(TargetError, match="overlap: 10"):
            make(validation=validation, test=test)
    else:
        with pytest.warns(UserWarning, match=r"validation and test share 9 sample\(s\) of equal content"):
            make(validation=validation, test=test)


@given(st.sets(st.integers(0, 39), min_size=1), st.sets(st.integers(0, 39), min_size=1))
def test_overlap_is_found_exactly(one: set[int], other: set[int]) -> None:
    raw = Raw(*data(40))
    splits = {"validation": Subset(raw, sorted(one)), "test": Subset(raw, sorted(other))}
    if one & other:
        with pytest.raises(TargetError, match=f"overlap: {len(one & other)} "):
            make(**splits)
    else:
        make(**splits)


NAN = float("nan")
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "state dict": ({"model": network().state_dict()}, "not a torch.nn.Module; load a state dict"),
    "function": ({"model": lambda x: x}, "model is a function, not a torch.nn.Module"),
    "task": ({"task": "detection"}, "task 'detection' is not supported"),
    "no validation": ({"validation": None}, "validation is None"),
    "example": ({"example_input": [1.0]}, "example_input is a list, not a tensor"),
    "empty example": ({"example_input": torch.zeros(0, 5)}, r"example_input has shape \(0, 5\)"),
    "unbatched example": ({"example_input": torch.zeros(5)}, r"pass example_input\.unsqueeze\(0\)"),
    "other shape": (
        {"test": (torch.zeros(9, 6), torch.arange(9) % 4)},
        r"test: inputs have shape \(6,\), but example_input holds inputs of shape \(5,\)",
    ),
    "empty split": ({"test": (torch.zeros(0, 5), torch.zeros(0).long())}, "test: is empty"),
    "high label": (
        {"test": (data(9)[0], torch.tensor([0, 1, 2, 3, 4, 0, 0, 9, 0]))},
        r"test: the label of sample 4 is 4, outside 0..3 .*2 label",
    ),
    "negative label": (
        {"train": (data(9)[0], torch.full((9,), -1))},
        "train: .* is -1.*is the split unlabelled",
    ),
    "labels from 1": ({"test": (data(8)[0], torch.arange(8) % 4 + 1)}, "count from 1: subtract 1"),
    "too few names": ({"classes": ["a", "b"]}, r"classes has 2 name\(s\), but the model returns 4"),
    "one string": ({"classes": "abcd"}, "classes is 'abcd'"),
    "raises": (
        {"model": nn.Sequential(nn.Linear(5, 8), nn.Sequential(nn.ReLU(), nn.Linear(7, 4)))},
        r"the model fails on example_input of shape \(1, 5\), torch.float32 in 1\.1 \(Linear\): RuntimeError: ",
    ),
    "tuple": ({"model": Fixed(lambda x: (x, x))}, "returns a tuple, not one tensor"),
    "one dimension": ({"model": Fixed(lambda x: x.sum(1))}, r"float32 of shape \(1,\) on example_input"),
    "dense output": ({"model": Fixed(lambda x: x[..., None])}, r"shape \(1, 5, 1\)"),
    "integers": ({"model": Fixed(lambda x: x.long())}, "returns torch.int64"),
    "single score": ({"model": nn.Linear(5, 1)}, "a single score a sample"),
    "NaN": ({"model": Fixed(lambda x: x * NAN)}, r"NaN or infinite for 1 of 1 sample\(s\)"),
    "NaN on data": (
        {"model": Fixed(lambda x: torch.where(x == 0, x, x / 0)[:, :4])},
        "first 40 calibration samples are NaN or infinite for 40 of 40",
    ),
    "ignores the batch": (
        {"model": Fixed(lambda x: x[:1, :4])},
        r"on the first 40 calibration samples of shape \(40, 5\); a classifier returns float scores of shape \(40,",
    ),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        make(**changes)


def test_a_model_that_cannot_be_copied_is_named() -> None:
    model = network()
    model.lock = __import__("threading").Lock()  # type: ignore[assignment]
    with pytest.raises(TargetError, match="the model cannot be copied: TypeError"):
        make(model=model)


def test_nothing_is_warned_of_a_good_target() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isfinite(make().model(torch.zeros(1, 5)).sum().item())
