"""The CIFAR ResNets: architecture, published weights, data in all their forms."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional
from torchvision.datasets import CIFAR10

from leanfront.core.targets import Pixels, Target, resolve
from leanfront.core.targets.cifar_resnet import CifarResNet
from leanfront.core.targets.pad_shortcut import PadShortcut
from leanfront.errors import TargetError, UsageError


def reference(shared_data: Path) -> str:
    data, weights = shared_data / "cifar10_jpeg.zip", shared_data / "resnet20_cifar10_jpeg.safetensors"
    return f"cifar10-resnet20?data={data}&weights={weights}"


@pytest.fixture(scope="module")
def resnet20(shared_data: Path) -> Target:
    return resolve(reference(shared_data))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random weights of a ResNet-20 for three classes."""
    torch.save(CifarResNet(20, 3).state_dict(), tmp_path / "w.pt")
    return tmp_path / "w.pt"


def test_names_and_shapes_are_the_public_checkpoints(shared_data: Path) -> None:
    with safe_open(shared_data / "resnet20_cifar10_jpeg.safetensors", "pt") as file:
        published = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert {name: tuple(t.shape) for name, t in CifarResNet(20).state_dict().items()} == published


@pytest.mark.parametrize(
    ("depth", "parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)]
)
def test_parameters(depth: int, parameters: int) -> None:
    # The counts of akamaster/pytorch_resnet_cifar10, option A.
    model = CifarResNet(depth)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(isinstance(m, PadShortcut) for m in model.modules()) == 2
    convolutions = sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules())
    assert convolutions == depth


def test_fvcore_counts_the_published_figure(fvcore_count: Callable[..., Any]) -> None:
    total, unsupported = fvcore_count(CifarResNet(20).eval(), torch.zeros(1, 3, 32, 32))
    assert total == 40_927_872
    assert set(unsupported) == {"aten::add", "aten::avg_pool2d"}


def test_forward_is_the_original(shared_data: Path, resnet20: Target) -> None:
    """Against the network written with slicing and padding, as the public code has it."""
    state = resnet20.model.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        statistics = (state[f"{name}.running_mean"], state[f"{name}.running_var"])
        return functional.batch_norm(x, *statistics, state[f"{name}.weight"], state[f"{name}.bias"])

    x = torch.randn(2, 3, 32, 32)
    out = norm(functional.conv2d(x, state["conv1.weight"], padding=1), "bn1").relu()
    for layer in (1, 2, 3):
        for block in (0, 1, 2):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            inner = functional.conv2d(out, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = functional.conv2d(
                norm(inner, f"{name}.bn1").relu(), state[f"{name}.conv2.weight"], padding=1
            )
            width = inner.shape[1] // 4 if stride == 2 else 0
            skip = functional.pad(out[:, :, ::stride, ::stride], (0, 0, 0, 0, width, width))
            out = (norm(inner, f"{name}.bn2") + skip).relu()
    expected = functional.linear(out.mean((2, 3)), state["linear.weight"], state["linear.bias"])
    with torch.no_grad():
        torch.testing.assert_close(resnet20.model(x), expected, rtol=1e-4, atol=1e-4)


def test_splits_of_the_shared_data(resnet20: Target) -> None:
    assert {name: len(split) for name, split in resnet20.splits.items()} == {
        "calibration": 1024,
        "validation": 5000,
        "test": 2500,
        "train": 8976,
    }
    assert resnet20.cuts == ("calibration: 1024 images cut from train, which keeps 8976",)
    assert resnet20.classes[0] == "airplane"
    assert resnet20.classes[9] == "truck"
    assert set(resnet20.calibration.labels.bincount().tolist()) <= {102, 103}
    assert resnet20.reference is not None
    assert resnet20.example_input.shape == (1, 3, 32, 32)


def test_pixels_are_in_range(resnet20: Target) -> None:
    assert resnet20.pixels == Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    pixels = resnet20.pixels.of(resnet20.calibration.tensors()[0])
    torch.testing.assert_close(pixels * 255, (pixels * 255).round(), rtol=0, atol=1e-3)
    assert (pixels.min().round(decimals=4), pixels.max().round(decimals=4)) == (0, 1)


def test_trained_anew_on_train(
    tmp_path: Path, weights: Path, write_tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path / "cache"))
    write_tree(tmp_path / "tree", ("train", "validation"), per_class=6)
    text = f"cifar10-resnet20?data={tmp_path / 'tree'}&weights={weights}"
    target = resolve(f"{text}&epochs=1&device=cpu")
    seen: list[float] = []

    def step(model: nn.Module, progress: float) -> None:
        seen.append(progress)

    model = target.retrained(3, step, "nothing")
    assert seen == [1.0]  # nine images are one batch
    torch.testing.assert_close(model.state_dict(), target.retrained(3).state_dict(), rtol=0, atol=0)
    changed = [not torch.equal(w, target.model.state_dict()[n]) for n, w in model.state_dict().items()]
    assert sum(changed) >= 60
    assert resolve(f"{text}&epochs=2").fingerprint == target.fingerprint
    longer = pickle.loads(pickle.dumps(resolve(f"{text}&epochs=2")))
    assert not torch.equal(longer.retrained(3).conv1.weight, model.conv1.weight)
    for option, message in (
        ("epochs=0", "epochs is '0'; give a whole number"),
        ("device=tpu", "device is 'tpu'"),
    ):
        with pytest.raises(UsageError, match=message):
            resolve(f"{text}&{option}")


@pytest.mark.slow
@pytest.mark.parametrize(("split", "accuracy"), [("validation", 0.8818), ("test", 0.8792)])
def test_dense_accuracy_is_the_published_one(resnet20: Target, split: str, accuracy: float) -> None:
    right = 0
    with torch.no_grad():
        for inputs, labels in resnet20.splits[split].batches(500):
            right += int((resnet20.model(inputs).argmax(1) == labels).sum())
    assert right / len(resnet20.splits[split]) == pytest.approx(accuracy, abs=1e-3)


def test_a_tree_of_own_classes_with_val_and_without_train(
    tmp_path: Path, weights: Path, write_tree: Any
) -> None:
    write_tree(tmp_path / "tree", ("val", "test"), per_class=4)
    target = resolve(f"cifar10-resnet20?data={tmp_path / 'tree'}&weights={weights}")
    assert target.classes == ("Zebra", "ant", "bee")
    assert target.train is None
    assert target.retrain is None
    assert target.cuts == ("calibration: 3 samples cut from validation, which keeps 9",)
    assert target.validation.sample_shape == (3, 32, 32)


def write_cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch, per_batch: int = 1300) -> Path:
    """A small CIFAR-10 in the official format; torchvision's table of checksums is exchanged for ours."""
    base = folder / "cifar-10-batches-py"
    base.mkdir(parents=True)
    random = np.random.default_rng(0)

    def write(name: str, content: dict[str, Any]) -> str:
        (base / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((base / name).read_bytes()).hexdigest()

    def batch(count: int) -> dict[str, Any]:
        pixels = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        return {"data": pixels, "labels": [index % 10 for index in range(count)]}

    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    train = [[f"data_batch_{n}", write(f"data_batch_{n}", batch(per_batch))] for n in range(1, 6)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", write("test_batch", batch(50))]])
    meta = {
        "filename": "batches.meta",
        "key": "label_names",
        "md5": write("batches.meta", {"label_names": names}),
    }
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return folder


@pytest.mark.parametrize("form", ["cifar10:{}", "{}", "{}/cifar-10-batches-py"])
def test_official_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    folder = write_cifar10(tmp_path / "official", monkeypatch)
    torch.save(CifarResNet(20).state_dict(), tmp_path / "w.pt")
    target = resolve(f"cifar10-resnet20?data={form.format(folder)}&weights={tmp_path / 'w.pt'}")
    assert {name: len(split) for name, split in target.splits.items()} == {
        "calibration": 1024,
        "validation": 5000,
        "test": 50,
        "train": 6500 - 6024,
    }
    (said,) = target.cuts
    assert "validation: 5000 images cut from CIFAR-10's training images" in said
    assert target.validation.labels.bincount().tolist() == [500] * 10
    pixels = CIFAR10(str(folder), train=False).data[3]
    expected = (
        torch.from_numpy(pixels).permute(2, 0, 1) / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    )
    expected /= torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    assert target.test is not None
    torch.testing.assert_close(target.test.tensors()[0][3], expected)
    assert len(target.fingerprint) == 64


def test_official_files_that_are_absent_or_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(CifarResNet(20).state_dict(), tmp_path / "w.pt")
    with pytest.raises(TargetError, match=r"Dataset not found or corrupted.*add download=1"):
        resolve(f"cifar10-resnet20?data=cifar10:{tmp_path}&weights={tmp_path / 'w.pt'}")
    folder = write_cifar10(tmp_path / "official", monkeypatch, per_batch=100)
    with pytest.raises(TargetError, match="has 500 training images; it is not complete"):
        resolve(f"cifar10-resnet20?data={folder}&weights={tmp_path / 'w.pt'}")


def test_what_is_missing_is_said(tmp_path: Path, weights: Path, write_tree: Any) -> None:
    with pytest.raises(
        TargetError, match=r"cifar10-resnet32 needs data: write 'cifar10-resnet32\?data=DATA&weights"
    ):
        resolve("cifar10-resnet32")
    with pytest.raises(TargetError, match=r"needs weights: .* with weights=FILE"):
        resolve(f"cifar10-resnet20?data={tmp_path}")
    write_tree(tmp_path / "tree", ("train",))
    with pytest.raises(TargetError, match="has no validation/ with images; there is train"):
        resolve(f"cifar10-resnet20?data={tmp_path / 'tree'}&weights={weights}")


def test_unfitting_weights_are_listed(tmp_path: Path, weights: Path, write_tree: Any) -> None:
    write_tree(tmp_path / "tree", ("validation", "test"), per_class=4)
    with pytest.raises(TargetError, match=r"missing \(60\): layer1\.3\.conv1\.weight"):
        resolve(f"cifar10-resnet32?data={tmp_path / 'tree'}&weights={weights}")
    torch.save(CifarResNet(20, 10).state_dict(), weights)
    with pytest.raises(TargetError, match=r"linear\.weight \(10, 64\) where the model has \(3, 64\)"):
        resolve(f"cifar10-resnet20?data={tmp_path / 'tree'}&weights={weights}")


@pytest.mark.parametrize("depth", [19, 2, 0])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="6 n"):
        CifarResNet(depth)
