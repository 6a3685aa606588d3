"""Splits that number their classes differently are refused, naming class and split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, random_split
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from leanfront.core.targets import Target
from leanfront.errors import TargetError

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}


class Colour(nn.Module):
    """Knows blue, green and red, in this order, by the brightest channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).flip(1)


def folder(
    root: Path, classes: Sequence[str] = tuple(COLOURS), shade: int = 0, **options: Any
) -> ImageFolder:
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(4):
            red, green, blue = (min(255, each + number + shade) for each in COLOURS.get(name, (9, 9, 9)))
            Image.new("RGB", (4, 4), (red, green, blue)).save(root / name / f"{number}.png")
    return ImageFolder(str(root), ToTensor(), **options)


def made(classes: Sequence[str] | None = None, **splits: Any) -> Target:
    return Target(model=Colour(), example_input=torch.zeros(1, 3, 4, 4), classes=classes, **splits)


class Wrapper(Dataset[tuple[Tensor, int]]):
    """What people write to add a transform to a part of a dataset."""

    def __init__(self, base: Any, change: Callable[[int], int] = lambda label: label) -> None:
        self.base = base
        self.change = change

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x, label = self.base[index]
        return x * 1.0, self.change(label)


class Named(Wrapper):
    """With numbers of its own."""

    def __init__(self, base: Any, class_to_idx: dict[str, int]) -> None:
        super().__init__(base)
        self.class_to_idx = class_to_idx


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "plain": lambda data: data,
    "subset": lambda data: Subset(data, range(len(data) - 1)),
    "split": lambda data: random_split(data, [0.75, 0.25], torch.Generator().manual_seed(0))[0],
    "concatenated": lambda data: ConcatDataset([data]),
    "loader": lambda data: DataLoader(data, 4),
    "wrapper": lambda data: Wrapper(Subset(data, range(len(data)))),
    "all": lambda data: DataLoader(ConcatDataset([Wrapper(Subset(data, range(len(data))))]), 4, shuffle=True),
}


@pytest.mark.parametrize("way", WRAPPED)
@pytest.mark.parametrize("lost", ["blue", "green"])
def test_a_class_that_a_split_lacks_is_named(way: str, lost: str, tmp_path: Path) -> None:
    left = [name for name in COLOURS if name != lost]
    whole, partial = folder(tmp_path / "a"), folder(tmp_path / "b", left, shade=10)
    with pytest.raises(TargetError, match=rf"^validation: it lacks the class '{lost}', so that the class"):
        made(train=whole, validation=WRAPPED[way](partial))
    with pytest.raises(TargetError, match=rf"^test: it lacks the class '{lost}'.*in validation; ImageFolder"):
        made(validation=WRAPPED[way](whole), test=partial)


def test_a_last_class_that_a_split_lacks_is_named_too(tmp_path: Path) -> None:
    whole, partial = folder(tmp_path / "a"), folder(tmp_path / "b", ["blue", "green"], shade=10)
    with pytest.raises(
        TargetError, match=r"^train: it lacks the class 'red', which is number 2 in validation"
    ):
        made(validation=whole, train=partial)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"red": 0, "green": 1, "blue": 2}, "the class 'red' is number 0 in it, but 2 in train"),
        ({"blue": 1, "green": 0, "red": 2}, "the class 'green' is number 0 in it, but 1 in train"),
        ({"blue": 0, "green": 1, "teal": 2}, "it lacks the class 'red', which is number 2 in train"),
    ],
)
def test_another_order_and_another_name_are_named(numbers: dict[str, int], said: str, tmp_path: Path) -> None:
    other = Named(folder(tmp_path / "b", shade=10), numbers)
    with pytest.raises(TargetError, match=f"^validation: {said}"):
        made(train=folder(tmp_path / "a"), validation=other)


def test_parts_of_one_split_must_agree(tmp_path: Path) -> None:
    parts = ConcatDataset([folder(tmp_path / "a"), folder(tmp_path / "b", ["green", "red"], shade=10)])
    with pytest.raises(
        TargetError, match=r"^validation: part 1 of the ConcatDataset it lacks the class 'blue'"
    ):
        made(validation=parts)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["red", "green", "blue"], "the class 'blue' is number 0 in it, but 2 in the target's classes"),
        (["green", "red", "black"], "the class 'green' is number 1 in it, but 0"),
    ],
)
def test_the_targets_own_names_count(classes: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=f"^validation: {said}"):
        made(classes, validation=folder(tmp_path / "a"))


@pytest.mark.parametrize("classes", [None, list(COLOURS), ["Blau", "Gruen", "Rot"], ["Blau", "green", "Rot"]])
def test_names_for_display_are_free(classes: list[str] | None, tmp_path: Path) -> None:
    found = made(classes, train=folder(tmp_path / "a"), validation=folder(tmp_path / "b", shade=10))
    assert found.classes == tuple(classes or "012")


def test_labels_that_are_mapped_to_the_right_numbers_are_accepted(tmp_path: Path) -> None:
    whole, partial = folder(tmp_path / "a"), folder(tmp_path / "b", ["green", "red"], shade=10)
    other = ImageFolder(str(tmp_path / "b"), ToTensor(), target_transform=lambda label: label + 1)
    for fixed in (Wrapper(partial, lambda label: label + 1), other, Named(other, {"green": 1, "red": 2})):
        target = made(train=whole, validation=fixed)
        assert target.validation.labels.tolist() == [1] * 4 + [2] * 4


def test_a_hidden_folder_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"^validation: the class '\.ipynb_checkpoints' is a hidden folder"):
        made(validation=folder(tmp_path / "a", [".ipynb_checkpoints", "green", "red"]))
    with pytest.raises(TargetError, match=r"^test: the class '@eaDir' is a hidden folder"):
        made(
            validation=folder(tmp_path / "b"),
            test=Subset(folder(tmp_path / "c", ["@eaDir", *COLOURS], 10), range(4, 8)),
        )
