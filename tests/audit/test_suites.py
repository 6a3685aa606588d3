"""Suites of corrupted images: whose, which, and under which key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from leanfront.core.audit import AuditOptions
from leanfront.core.audit.suites import Suite, c_like, published
from leanfront.core.objectives.corruptions import corrupt
from leanfront.core.targets import Pixels, Split, Target
from leanfront.core.targets.pictures import Pictures
from leanfront.errors import TargetError

OPTIONS = AuditOptions(corruptions=("gaussian_noise", "contrast"), severities=(2, 5), samples=12)
SOME = torch.tensor([3, 40, 77, 8])


def suite(target: Target, positions: torch.Tensor = SOME, options: AuditOptions = OPTIONS) -> Suite:
    assert target.test is not None
    assert target.pixels is not None
    return c_like(target.test.subset(positions), target.pixels, positions, options)


def images(made: Split | Pictures) -> torch.Tensor:
    assert isinstance(made, Pictures)
    return made.images


def test_every_corruption_at_every_severity(pictured: Target) -> None:
    found = suite(pictured)
    assert list(found.ways()) == [
        ("gaussian_noise", 2),
        ("gaussian_noise", 5),
        ("contrast", 2),
        ("contrast", 5),
    ]
    assert pictured.test is not None
    assert torch.equal(found.labels, pictured.test.labels[SOME])
    clean = images(found.clean)
    assert clean.shape == (4, 1, 8, 8)
    for way in found.ways():
        made = found.make(*way)
        assert images(made).shape == clean.shape
        assert not torch.equal(images(made), clean), way
        # The definition itself, on the same bytes with the same seeds.
        expected = corrupt(way[0], clean.float() / 255, way[1], SOME.tolist())
        assert torch.equal(images(made), (expected.clamp(0, 1) * 255).round().to(torch.uint8))
        assert torch.equal(made.labels, found.labels)


def test_a_samples_corruption_is_its_own(pictured: Target) -> None:
    """However many others are looked at, and in which order."""
    whole = images(suite(pictured).make("gaussian_noise", 5))
    back = images(suite(pictured, SOME.flip(0)).make("gaussian_noise", 5))
    assert torch.equal(back.flip(0), whole)
    alone = images(suite(pictured, SOME[1:2]).make("gaussian_noise", 5))
    assert torch.equal(alone[0], whole[1])


def test_other_images_have_another_key(pictured: Target) -> None:
    first = suite(pictured)
    assert suite(pictured).key == first.key
    assert suite(pictured, SOME[:3]).key != first.key
    assert suite(pictured, SOME.flip(0)).key != first.key
    assert pictured.test is not None
    other = c_like(pictured.test.subset(SOME), Pixels((0.5,), (0.15,)), SOME, OPTIONS)
    assert other.key != first.key
    # Which of the corruptions are asked for is said with each.
    assert suite(pictured, options=replace(OPTIONS, severities=(1,))).key == first.key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As CIFAR-10-C is written: 20 images at each of five severities."""
    generator = np.random.default_rng(0)
    for name in ("fog", "snow"):
        np.save(tmp_path / f"{name}.npy", generator.integers(0, 256, (100, 8, 8, 3), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(np.arange(20) % 4, 5))
    return tmp_path


def read(path: Path, target: Target, options: AuditOptions = OPTIONS) -> Suite:
    assert target.pixels is not None
    return published(str(path), target, target.pixels, target.validation, options)


def test_published_images_are_some_of_each(pictured: Target, folder: Path) -> None:
    found = read(folder, pictured)
    assert found.corruptions == ("fog", "snow")
    assert found.severities == (1, 2, 3, 4, 5)
    # Those of all classes alike, and the same under every corruption.
    assert found.labels.bincount().tolist() == [3, 3, 3, 3]
    assert "12 of 20" in found.text
    for way in found.ways():
        assert torch.equal(found.make(*way).labels, found.labels)
    inputs = [torch.cat([batch for batch, _ in found.make("fog", level).batches(64)]) for level in (1, 2)]
    assert inputs[0].shape == (12, 1, 8, 8)
    assert not torch.equal(*inputs)
    assert found.clean is pictured.validation
    everything = read(folder, pictured, replace(OPTIONS, samples=500))
    assert len(everything.labels) == 20


def test_published_images_have_keys_by_content(pictured: Target, folder: Path) -> None:
    key = read(folder, pictured).key
    assert read(folder, pictured).key == key
    assert read(folder, pictured, replace(OPTIONS, seed=1)).key != key
    # Of any corruption: answers on other images under its name are none on these.
    for name in ("fog", "snow"):
        before = read(folder, pictured).key
        np.save(folder / f"{name}.npy", 255 - np.load(folder / f"{name}.npy"))
        assert read(folder, pictured).key != before, name


def test_a_corruption_without_all_severities_is_left_out(pictured: Target, tmp_path: Path) -> None:
    from PIL import Image

    for corruption, severities in (("fog", (1, 2)), ("snow", (1,))):
        for severity in severities:
            for name in pictured.classes:
                place = tmp_path / corruption / str(severity) / name
                place.mkdir(parents=True)
                Image.new("L", (8, 8), 40 * severity).save(place / "0.png")
    found = read(tmp_path, pictured)
    assert (found.corruptions, found.severities) == (("fog",), (1, 2))


def test_no_such_folder(pictured: Target, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"holds no corrupted images: expected CIFAR-10-C's"):
        read(tmp_path, pictured)
    with pytest.raises(TargetError, match="nowhere"):
        read(tmp_path / "nowhere", pictured)
