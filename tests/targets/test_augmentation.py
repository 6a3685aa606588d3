from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from leanfront.core.targets import Target
from leanfront.core.targets.augmentation import CropAndFlip, shifted
from leanfront.errors import TargetError


def test_each_image_is_moved_and_mirrored_by_itself() -> None:
    images = torch.randn(200, 1, 8, 9, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(1)
    made = CropAndFlip(2)(images)
    assert made.shape == images.shape
    found: dict[tuple[int, int, bool], int] = {}
    for before, after in zip(images, made, strict=True):
        for mirrored in (False, True):
            image = before.flip(2) if mirrored else before
            padded = functional.pad(image[None], (2, 2, 2, 2), mode="reflect")[0]
            windows = padded.unfold(1, 8, 1).unfold(2, 9, 1)[0]
            for row, column in (windows == after).flatten(2).all(2).nonzero().tolist():
                key = (row, column, mirrored)
                found[key] = found.get(key, 0) + 1
    # Every image is one of the 50 there are, every one of them comes, none much more often than others.
    assert sum(found.values()) == 200
    assert len(found) > 40
    assert max(found.values()) < 20
    torch.manual_seed(1)
    assert torch.equal(pickle.loads(pickle.dumps(CropAndFlip(2)))(images), made)


def test_a_window_as_large_as_the_image_is_the_image() -> None:
    images = torch.randn(3, 1, 4, 4)
    assert torch.equal(shifted(images, 4, 4), images)


def test_the_targets_bring_one(digits: Target) -> None:
    assert digits.train is not None
    inputs, _ = next(digits.train.batches(32))
    before = inputs.clone()
    assert digits.augment is not None
    moved = digits.augment(inputs)
    assert moved.shape == inputs.shape
    assert torch.equal(inputs, before)
    assert not torch.equal(moved, inputs)
    assert digits.referred("digits", "other").augment is digits.augment


def narrow(images: Tensor) -> Tensor:
    return images[:, :, 1:]


def fail(images: Tensor) -> Tensor:
    raise RuntimeError("no")


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("flip", "augment is a str; give a function"),
        (
            narrow,
            r"augment makes torch.float32 of shape \(2, 1, 7, 8\) of torch.float32 of shape \(2, 1, 8, 8\)",
        ),
        (lambda images: images.double(), "augment makes torch.float64"),
        (lambda images: None, "augment makes a NoneType"),
        (fail, "augment fails on inputs of shape .*: RuntimeError: no"),
    ],
)
def test_what_is_none_is_refused(digits: Target, augment: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Target(
            model=digits.model,
            example_input=digits.example_input,
            validation=digits.validation,
            calibration=digits.calibration,
            augment=augment,
        )


def test_it_is_no_part_of_the_fingerprint(digits: Target) -> None:
    fields = {name: getattr(digits, name) for name in ("model", "example_input", "validation", "calibration")}
    state = torch.get_rng_state()
    made = Target(**fields, augment=lambda images: images + torch.rand(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert made.fingerprint == Target(**fields).fingerprint
