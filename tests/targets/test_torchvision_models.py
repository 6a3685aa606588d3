"""Torchvision's models, with torchvision's own transforms and networks as oracles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import models, transforms

from leanfront.core.targets import Pixels, resolve
from leanfront.core.targets.torchvision_models import CentreCrop
from leanfront.errors import TargetError, UsageError


@pytest.fixture
def tree(tmp_path: Path, write_tree: Any) -> Path:
    return write_tree(tmp_path / "tree", ("val", "test"), per_class=4)


@given(width=st.integers(20, 90), height=st.integers(20, 90), size=st.sampled_from([16, 32, 33]))
def test_preprocessing_is_torchvisions(width: int, height: int, size: int) -> None:
    reference = transforms.Compose(
        [
            transforms.Resize(round(size * 256 / 224)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    torch.testing.assert_close(CentreCrop(size)(image), reference(image))


def test_weights_from_a_file(tree: Path, tmp_path: Path) -> None:
    network = models.resnet18(num_classes=3).eval()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    target = resolve(f"torchvision:resnet18?data={tree}&weights={tmp_path / 'w.pt'}&size=32")
    assert target.classes == ("Zebra", "ant", "bee")
    assert target.name == "torchvision:resnet18"
    assert target.example_input.shape == (1, 3, 32, 32)
    inputs, _ = target.validation.tensors()
    with torch.no_grad():
        torch.testing.assert_close(target.model(inputs), network(inputs))


def test_trained_anew_on_train(tmp_path: Path, write_tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path / "cache"))
    tree = write_tree(tmp_path / "tree", ("train", "val"), per_class=6)
    text = f"torchvision:mobilenet_v3_small?data={tree}&weights=random&size=32&epochs=1&device=cpu"
    target = resolve(text)
    assert target.pixels == Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    state = torch.random.get_rng_state()
    first = target.retrained(0).state_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    other = target.retrained(1).state_dict()
    name = "features.0.0.weight"
    assert not torch.equal(first[name], other[name])
    assert not torch.equal(first[name], target.model.state_dict()[name])
    torch.testing.assert_close(resolve(text).retrained(0).state_dict(), first, rtol=0, atol=0)


def test_without_train_there_is_no_retraining(tree: Path) -> None:
    target = resolve(f"torchvision:mobilenet_v3_small?data={tree}&weights=random&size=32")
    assert target.retrain is None
    with pytest.raises(TargetError, match="cannot be trained anew"):
        target.retrained(0)


def test_random_weights_follow_the_seed(tree: Path) -> None:
    state = torch.random.get_rng_state()
    text = f"torchvision:mobilenet_v3_small?data={tree}&weights=random&size=32"
    prints = [resolve(text + more).fingerprint for more in ("", "&seed=0", "&seed=1")]
    assert prints[0] == prints[1] != prints[2]
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.slow
@pytest.mark.parametrize(("model", "size"), [("googlenet", 64), ("inception_v3", 96)])
def test_auxiliary_classifiers_are_dropped(tree: Path, model: str, size: int) -> None:
    target = resolve(f"torchvision:{model}?data={tree}&weights=random&size={size}")
    assert not any("aux" in name.lower() for name in target.model.state_dict())


def test_unknown_names_get_suggestions(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"no classification model 'resnet8'; did you mean .*resnet18"):
        resolve(f"torchvision:resnet8?data={tree}")
    with pytest.raises(UsageError, match="known: alexnet"):
        resolve(f"torchvision:qqq?data={tree}")
    with pytest.raises(UsageError, match="no classification model 'fcn_resnet50'"):
        resolve(f"torchvision:fcn_resnet50?data={tree}")
    with pytest.raises(UsageError, match="no weights 'BEST'; known: IMAGENET1K_V1, DEFAULT"):
        resolve(f"torchvision:resnet18?data={tree}&weights=BEST")


@pytest.mark.parametrize("option", ["size=0", "size=big", "seed=-1"])
def test_bad_numbers(tree: Path, option: str) -> None:
    with pytest.raises(UsageError, match=r"torchvision:resnet18: \w+ is '.*'; give a whole number from"):
        resolve(f"torchvision:resnet18?data={tree}&weights=random&{option}")


def test_missing_data_and_weights(tree: Path) -> None:
    with pytest.raises(TargetError, match=r"needs data: write 'torchvision:resnet18\?data=FOLDER'"):
        resolve("torchvision:resnet18")
    with pytest.raises(TargetError, match=r"there is no file 'absent\.pth'"):
        resolve(f"torchvision:resnet18?data={tree}&weights=absent.pth")


def test_published_weights_need_their_classes(tree: Path) -> None:
    with pytest.raises(TargetError, match=r"weights=DEFAULT of resnet18 tell 1000 classes apart.* has 3;"):
        resolve(f"torchvision:resnet18?data={tree}")


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A tree of 1,000 classes, and a network that is not there.
    image = Image.new("RGB", (8, 8))
    for number in range(1000):
        folder = tmp_path / "tree" / "validation" / f"n{number:08d}"
        folder.mkdir(parents=True)
        image.putpixel((0, 0), (number % 256, number // 256, 0))
        image.save(folder / "0.png")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network here")

    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    url = re.escape(models.ResNet18_Weights.DEFAULT.url)
    with pytest.raises(
        TargetError, match=f"could not be downloaded: .*no network here.*; fetch {url} .*weights=FILE"
    ):
        resolve(f"torchvision:resnet18?data={tmp_path / 'tree'}")
