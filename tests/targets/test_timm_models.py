"""timm's models, with timm's own transforms and networks as oracles."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

from leanfront.core.targets import Pixels, resolve
from leanfront.errors import TargetError, UsageError

SMALL = "mobilenetv3_small_050"


@pytest.fixture
def tree(tmp_path: Path, write_tree: Any) -> Path:
    return write_tree(tmp_path / "tree", ("val", "test"), per_class=4)


def test_weights_from_a_file(tree: Path, tmp_path: Path) -> None:
    network = timm.create_model(SMALL, num_classes=3).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    target = resolve(f"timm:{SMALL}?data={tree}&weights={tmp_path / 'w.safetensors'}&size=64")
    assert (target.classes, target.name) == (("Zebra", "ant", "bee"), f"timm:{SMALL}")
    config = {**resolve_model_data_config(network), "input_size": (3, 64, 64)}
    assert target.pixels == Pixels(tuple(config["mean"]), tuple(config["std"]))
    transform = create_transform(**config, is_training=False)
    files = sorted((tree / "test" / "Zebra").iterdir())
    expected = torch.stack([transform(Image.open(path).convert("RGB")) for path in files])
    assert target.test is not None
    inputs, labels = target.test.tensors()
    torch.testing.assert_close(inputs[labels == 0], expected)
    with torch.no_grad():
        torch.testing.assert_close(target.model(inputs), network(inputs))


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "resnet10t.c3_in1k"])
def test_the_size_is_the_networks_too(tree: Path, model: str) -> None:
    target = resolve(f"timm:{model}?data={tree}&weights=random&size=32")
    assert target.example_input.shape == (1, 3, 32, 32)
    assert target.fingerprint == resolve(f"timm:{model}?data={tree}&weights=random&size=32").fingerprint
    assert (
        target.fingerprint != resolve(f"timm:{model}?data={tree}&weights=random&size=32&seed=1").fingerprint
    )


def test_trained_anew_on_train(tmp_path: Path, write_tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path / "cache"))
    tree = write_tree(tmp_path / "tree", ("train", "val"), per_class=6)
    target = resolve(f"timm:{SMALL}?data={tree}&weights=random&size=32&epochs=1&device=cpu")
    first, other = (target.retrained(seed).state_dict()["conv_stem.weight"] for seed in (0, 1))
    assert not torch.equal(first, other)


def test_published_weights_are_safetensors(
    tmp_path: Path, write_tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download itself cannot be tried without a network; what is asked for and what becomes of it can."""
    asked = []

    def download(place: str, name: str) -> str:
        asked.append((place, name))
        network = timm.create_model("resnet10t", num_classes=1000)
        save_file(network.state_dict(), tmp_path / "published.safetensors")
        return str(tmp_path / "published.safetensors")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    names = tuple(f"n{number:04}" for number in range(1000))
    tree = tmp_path / "tree"
    pixels = Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8))
    for name in names:
        (tree / "val" / name).mkdir(parents=True)
        for number in range(2):  # one of them is for calibration
            pixels.save(tree / "val" / name / f"{number}.png")
    target = resolve(f"timm:resnet10t.c3_in1k?data={tree}&size=32")
    assert asked == [("timm/resnet10t.c3_in1k", "model.safetensors")]
    assert target.classes == names

    def fails(place: str, name: str) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    with pytest.raises(
        TargetError, match=r"could not be downloaded from timm/resnet10t\.c3_in1k: no network"
    ):
        resolve(f"timm:resnet10t.c3_in1k?data={tree}&size=32")


def test_what_is_wrong(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no model 'resnet19'; did you mean .*resnet18"):
        resolve(f"timm:resnet19?data={tree}")
    with pytest.raises(TargetError, match=r"write 'timm:resnet18\?data=FOLDER'"):
        resolve("timm:resnet18")
    with pytest.raises(TargetError, match=r"tell 1,000 classes apart, but .* has 3"):
        resolve(f"timm:resnet18.a1_in1k?data={tree}")
    with pytest.raises(UsageError, match="has no weights 'BEST'"):
        resolve(f"timm:resnet18.a1_in1k?data={tree}&weights=BEST")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install 'leanfront\[timm\]'"):
        resolve(f"timm:resnet18?data={tree}")
