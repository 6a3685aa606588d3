"""Images as bytes, and the inputs that are made of them."""

from __future__ import annotations

import pytest
import torch

from leanfront.core.targets import Pixels, Split
from leanfront.core.targets.pictures import Pictures, quantised

COLOURS = Pixels((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def bytes_(count: int = 300) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 5, 4), dtype=torch.uint8)


def split(images: torch.Tensor) -> Split:
    return Split.of("test", (COLOURS.inputs(images.float() / 255), torch.arange(len(images)) % 7))


def test_the_images_that_inputs_were_made_of() -> None:
    """Bytes become inputs and bytes again, through as many batches as there are."""
    images = bytes_()
    made = Pictures.of(split(images), COLOURS)
    assert torch.equal(made.images, images)
    assert torch.equal(made.labels, torch.arange(300) % 7)
    assert len(made) == 300
    torch.testing.assert_close(made.scaled(), images.float() / 255)
    assert made.scaled().dtype == torch.float32


@pytest.mark.parametrize("size", [1, 7, 300, 1000])
def test_batches_are_the_splits(size: int) -> None:
    images = bytes_(40)
    own, theirs = Pictures.of(split(images), COLOURS), split(images)
    for (inputs, labels), (expected, truth) in zip(own.batches(size), theirs.batches(size), strict=True):
        torch.testing.assert_close(inputs, expected)
        assert torch.equal(labels, truth)


def test_other_images_of_the_same_samples() -> None:
    made = Pictures.of(split(bytes_(10)), COLOURS)
    other = made.others(torch.full((10, 3, 5, 4), 0.5))
    assert set(other.images.unique().tolist()) == {128}
    assert torch.equal(other.labels, made.labels)
    # What it was made of stays.
    assert not torch.equal(other.images, made.images)


def test_rounded_to_the_nearest_of_256_levels() -> None:
    shown = torch.tensor([-0.3, 0.0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 1.0, 7.0])
    assert quantised(shown).tolist() == [0, 0, 0, 1, 254, 255, 255]
    assert quantised(shown).dtype == torch.uint8
