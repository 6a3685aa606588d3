"""Data of other distributions, on small folders that are written here: real arrays, real image files, a zip."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.datasets import ImageFolder

from leanfront.core.audit.shift_images import Fit
from leanfront.core.audit.shifts import ARRAYS, IMAGES, Shift, corruption_folder, data_shift, match_classes
from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.torchvision_models import CentreCrop
from leanfront.errors import TargetError

CLASSES = ("ant", "bee", "cat", "dog")
COLOUR = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GREY = Pixels((0.5,), (0.25,))
NORMALISE = transforms.Normalize(COLOUR.mean, COLOUR.std)


def view(
    size: int = 8, pixels: Pixels = COLOUR, classes: Sequence[str] = CLASSES, width: int | None = None
) -> dict[str, Any]:
    example = torch.zeros(1, pixels.channels, size, width or size)
    return {"pixels": pixels, "example_input": example, "classes": classes}


def write_images(
    folder: Path,
    classes: Sequence[str] = CLASSES,
    each: int = 2,
    size: tuple[int, int] = (8, 8),
    seed: int = 0,
) -> Path:
    """``<class>/<number>.png|jpg``, and a file that is no image."""
    random = np.random.default_rng(seed)
    for label in classes:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            image = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8))
            image.save(folder / label / f"{number}.{('png', 'jpg')[number % 2]}")
    (folder / "README.txt").write_text("not an image")
    return folder


def zipped(folder: Path, file: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for each in sorted(folder.rglob("*"), reverse=True):
            archive.write(each, inside + each.relative_to(folder).as_posix())
        archive.writestr("__MACOSX/ant/._1.png", b"junk")
    return file


def write_arrays(folder: Path, names: Sequence[str] = ("fog", "snow"), each: int = 6, size: int = 8) -> Path:
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(1)
    for name in names:
        np.save(folder / f"{name}.npy", random.integers(0, 256, (5 * each, size, size, 3), dtype=np.uint8))
    np.save(folder / "labels.npy", np.tile(np.arange(each, dtype=np.uint8) % 3, 5))
    return folder


def read(shift: Shift) -> tuple[Tensor, list[int]]:
    inputs, labels = shift.split.tensors()
    return inputs, labels.tolist()


def test_arrays_are_cut_by_severity(tmp_path: Path) -> None:
    found = corruption_folder(write_arrays(tmp_path / "c"))
    assert found is not None
    assert found.kind == ARRAYS
    assert found.corruptions == ("fog", "snow")
    assert found.ways == tuple((name, severity) for name in ("fog", "snow") for severity in range(1, 6))
    images = np.load(tmp_path / "c" / "snow.npy")
    for severity in (1, 4, 5):
        shift = found.shift("snow", severity, **view())
        rows = images[6 * (severity - 1) : 6 * severity]
        expected = NORMALISE(torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 255)
        inputs, labels = read(shift)
        torch.testing.assert_close(inputs, expected)
        assert labels == [0, 1, 2, 0, 1, 2]
        assert shift.classes == (0, 1, 2)
        assert shift.name == f"snow {severity}"
        assert shift.note == "the numbers in labels.npy are taken as the target's: 0 is ant"
        batches = [x for x, _ in shift.split.batches(4)]
        assert [len(x) for x in batches] == [4, 2]
        assert torch.equal(torch.cat(batches), inputs)


def test_arrays_stay_on_disk(tmp_path: Path) -> None:
    found = corruption_folder(write_arrays(tmp_path / "c", each=300))
    assert found is not None
    split = found.shift("fog", 2, **view()).split
    next(split.batches(2))
    assert isinstance(split._samples.dataset.data, np.memmap)
    assert split._inputs is None
    carried = pickle.dumps(split)
    assert len(carried) < 50_000 < 300 * 8 * 8 * 3
    assert torch.equal(pickle.loads(carried).tensors()[0], split.tensors()[0])
    assert split.digest == found.shift("fog", 2, **view()).split.digest
    assert split.digest != found.shift("fog", 3, **view()).split.digest


def test_labels_of_one_severity_and_images_of_another_size(tmp_path: Path) -> None:
    folder = write_arrays(tmp_path / "c", size=12)
    np.save(folder / "labels.npy", np.array([3, 0, 0, 1, 2, 2]))
    found = corruption_folder(folder)
    assert found is not None
    images = np.load(folder / "fog.npy")[12:18]
    resize = transforms.Compose([transforms.Resize(8), transforms.ToTensor(), NORMALISE])
    inputs, labels = read(found.shift("fog", 3, **view()))
    assert labels == [3, 0, 0, 1, 2, 2]
    torch.testing.assert_close(inputs, torch.stack([resize(Image.fromarray(image)) for image in images]))
    grey, _ = read(found.shift("fog", 3, **view(pixels=GREY)))
    expected = transforms.Compose([transforms.Grayscale(), transforms.Resize(8), transforms.ToTensor()])
    torch.testing.assert_close(
        grey, torch.stack([(expected(Image.fromarray(image)) - 0.5) / 0.25 for image in images])
    )


@pytest.mark.parametrize("group", ["", "blur/"])
def test_trees_by_corruption_and_severity(tmp_path: Path, group: str) -> None:
    for corruption in ("fog", "zoom_blur"):
        for severity in (1, 3):
            write_images(tmp_path / group / corruption / str(severity), seed=severity)
    (tmp_path / "meta").mkdir()
    found = corruption_folder(tmp_path)
    assert found is not None
    assert found.kind == IMAGES
    assert found.ways == (("fog", 1), ("fog", 3), ("zoom_blur", 1), ("zoom_blur", 3))
    for severity in (1, 3):
        shift = found.shift("zoom_blur", severity, **view())
        expected = ImageFolder(
            str(tmp_path / group / "zoom_blur" / str(severity)),
            transforms.Compose([transforms.ToTensor(), NORMALISE]),
        )
        inputs, labels = read(shift)
        torch.testing.assert_close(inputs, torch.stack([x for x, _ in expected]))
        assert labels == expected.targets
        assert shift.note is None
        assert shift.classes == (0, 1, 2, 3)
    with pytest.raises(TargetError, match="no fog of severity 2; it has fog 1, fog 3, zoom_blur 1"):
        found.shift("fog", 2, **view())


def test_other_folders_are_no_corruption_folders(tmp_path: Path) -> None:
    assert corruption_folder(write_images(tmp_path / "flat")) is None
    assert corruption_folder(zipped(tmp_path / "flat", tmp_path / "x.zip")) is None
    # Classes that are named as severities are.
    assert corruption_folder(write_images(tmp_path / "numbers" / "part", ("1", "2", "3"))) is None
    for split in ("test", "train"):
        write_images(tmp_path / "splits" / split / "1", ("deep",))
    assert corruption_folder(tmp_path / "splits") is None
    (tmp_path / "empty").mkdir()
    assert corruption_folder(tmp_path / "empty") is None


@pytest.mark.parametrize("form", ["folder", "wrapped folder", "zip", "wrapped zip"])
def test_class_folders_in_any_form(tmp_path: Path, form: str) -> None:
    # In an order that is not the target's, one class missing, one image deeper.
    folder = write_images(tmp_path / "a" / "imagenet-a", ("dog", "bee", "ant"), each=3)
    (folder / "bee" / "deep").mkdir()
    (folder / "bee" / "0.png").rename(folder / "bee" / "deep" / "9.png")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.png").write_bytes(b"junk")
    path = folder.parent if "wrapped" in form else folder
    if "zip" in form:
        path = zipped(path, tmp_path / "data.zip")
    classes = ("dog", "cat", "bee", "ant")
    shift = data_shift(path, **view(classes=classes))
    (folder / ".cache" / "x.png").unlink()
    (folder / ".cache").rmdir()
    expected = ImageFolder(str(folder), transforms.Compose([transforms.ToTensor(), NORMALISE]))
    inputs, labels = read(shift)
    torch.testing.assert_close(inputs, torch.stack([x for x, _ in expected]))
    assert labels == [classes.index(expected.classes[label]) for label in expected.targets]
    assert shift.classes == (0, 2, 3)
    assert shift.note == f"'{path}' has 3 of the target's 4 classes"
    assert torch.equal(pickle.loads(pickle.dumps(shift.split)).tensors()[0], inputs)
    assert shift.name == {"folder": "imagenet-a", "wrapped folder": "a"}.get(form, "data")


def test_folder_and_zip_have_one_digest(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "tree")
    one = data_shift(folder, **view())
    other = data_shift(zipped(folder, tmp_path / "t.zip"), **view())
    assert one.split.digest == other.split.digest
    assert one.note is None


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_of_a_tree_of_splits_the_best_is_read(tmp_path: Path, form: str) -> None:
    for seed, split in enumerate(("train", "val", "validation", "test")):
        write_images(tmp_path / "tree" / split, seed=seed)
        path = tmp_path / "tree"
        if form == "zip":
            path = zipped(path, tmp_path / f"{split}.zip", "around/")
        if split == "train":
            with pytest.raises(TargetError, match="has only train; give images to judge on"):
                data_shift(path, **view())
            continue
        inputs, _ = read(data_shift(path, **view()))
        torch.testing.assert_close(inputs, read(data_shift(tmp_path / "tree" / split, **view()))[0])


def test_a_class_may_be_named_as_a_split(tmp_path: Path) -> None:
    shift = data_shift(write_images(tmp_path / "x", ("test", "train")), **view(classes=("train", "test")))
    assert read(shift)[1] == [1, 1, 0, 0]


def test_classes_go_by_name_or_else_by_order() -> None:
    assert match_classes(["bee", "dog"], CLASSES, "x") == ((1, 3), "x has 2 of the target's 4 classes")
    assert match_classes(["dog", "ant", "cat", "bee"], CLASSES, "x") == ((3, 0, 2, 1), None)
    numbers, note = match_classes(["n2", "n1", "n3"], ("0", "1", "2"), "x")
    assert numbers == (1, 0, 2)
    assert note is not None
    assert note.endswith("taken in alphabetical order: n1 as 0 to n3 as 2")
    folders = sorted(str(number) for number in range(12))
    names = [f"class {letter}" for letter in "abcdefghijkl"]
    numbers, note = match_classes(folders, names, "x")
    assert [folders[numbers.index(number)] for number in range(12)] == [str(number) for number in range(12)]
    assert note is not None
    assert "in the order of their numbers: 0 as class a to 11 as class l" in note


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            ["ant", "bee", "cow", "dog"],
            r"x has 1 class\(es\) that the target does not know: cow; its 4 are ant, bee",
        ),
        (["n1", "n2"], r"2 class\(es\) that the target does not know: n1, n2"),
        ([f"n{number}" for number in range(7)], r"7 class\(es\) .*: n0, n1, n2, n3, n4 \.\.\.; its 4"),
    ],
)
def test_unknown_classes_are_named(found: list[str], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        match_classes(found, CLASSES, "x")


@pytest.mark.parametrize("size", [(80, 100), (100, 80), (73, 73), (64, 64), (20, 30)])
def test_large_inputs_are_cut_as_imagenet_is(size: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    made = Fit(64, 64, COLOUR)(image)
    if size == (64, 64):
        expected = NORMALISE(transforms.functional.to_tensor(image))
    else:
        expected = CentreCrop(64)(image)
        steps = [transforms.Resize(73), transforms.CenterCrop(64), transforms.ToTensor(), NORMALISE]
        torch.testing.assert_close(expected, transforms.Compose(steps)(image))
    torch.testing.assert_close(made, expected)


@pytest.mark.parametrize(("size", "cut"), [((12, 30), (8, 20)), ((30, 12), (20, 8)), ((5, 4), (10, 8))])
def test_small_inputs_are_cut_from_the_middle(size: tuple[int, int], cut: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    steps = [transforms.Resize(cut), transforms.CenterCrop(8), transforms.ToTensor(), NORMALISE]
    torch.testing.assert_close(Fit(8, 8, COLOUR)(image), transforms.Compose(steps)(image))


def test_inputs_need_not_be_square(tmp_path: Path) -> None:
    wide, _ = read(data_shift(write_images(tmp_path / "x", size=(20, 20)), **view(6, GREY, width=12)))
    assert wide.shape == (8, 1, 6, 12)
    image = Image.open(tmp_path / "x" / "ant" / "0.png")
    steps = [
        transforms.Grayscale(),
        transforms.Resize(12),
        transforms.CenterCrop((6, 12)),
        transforms.ToTensor(),
    ]
    torch.testing.assert_close(wide[0], (transforms.Compose(steps)(image) - 0.5) / 0.25)


def test_broken_arrays_are_refused(tmp_path: Path) -> None:
    folder = write_arrays(tmp_path / "c")
    good = np.load(folder / "fog.npy")

    def refuse(message: str) -> None:
        found = corruption_folder(folder)
        assert found is not None
        with pytest.raises(TargetError, match=message):
            found.shift("fog", 1, **view())

    np.save(folder / "fog.npy", good[:29])
    refuse("has 29 images, which are not 5 severities of equally many")
    np.save(folder / "fog.npy", good.astype(np.float32))
    refuse(r"float32 of shape \(30, 8, 8, 3\); expected uint8 images")
    np.save(folder / "fog.npy", good[..., 0])
    refuse(r"uint8 of shape \(30, 8, 8\)")
    np.save(folder / "fog.npy", np.array([{"a": 1}], dtype=object))
    refuse(r"cannot be read as an array: .*Python objects")
    (folder / "fog.npy").write_bytes(b"")
    refuse("cannot be read as an array")
    np.save(folder / "fog.npy", good)
    np.save(folder / "labels.npy", np.full(30, 4))
    refuse("has labels from 4 to 4, but the target has 4 classes")
    np.save(folder / "labels.npy", np.zeros(7, dtype=int))
    refuse(r"shape \(7,\); expected one whole number for each of the 30 images")
    np.save(folder / "labels.npy", np.zeros(30))
    refuse("float64 of shape")
    (folder / "labels.npy").unlink()
    with pytest.raises(TargetError, match=r"has fog.npy but no labels.npy"):
        corruption_folder(folder)
    only = tmp_path / "only"
    only.mkdir()
    np.save(only / "labels.npy", np.zeros(5, dtype=int))
    with pytest.raises(TargetError, match=r"has labels.npy but no <corruption>.npy"):
        corruption_folder(only)


def test_one_corruption_twice_is_refused(tmp_path: Path) -> None:
    for place in ("fog", "weather/fog"):
        write_images(tmp_path / place / "1")
    with pytest.raises(TargetError, match="has fog twice: fog/ and weather/fog/"):
        corruption_folder(tmp_path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.zip").write_bytes(b"not a zip file")
    for read_it in (corruption_folder, lambda path: data_shift(path, **view())):
        with pytest.raises(TargetError, match=r"there is no file or folder '.*missing'"):
            read_it(tmp_path / "missing")
    with pytest.raises(TargetError, match="holds no images as <class>/<image>"):
        data_shift(tmp_path / "empty", **view())
    with pytest.raises(TargetError, match="cannot be read as a zip file or folder: File is not a zip file"):
        data_shift(tmp_path / "no.zip", **view())
    folder = write_images(tmp_path / "broken")
    (folder / "bee" / "0.png").write_bytes(b"no image")
    with pytest.raises(TargetError, match=r"the image 'bee/0.png' in '.*broken' cannot be read"):
        data_shift(folder, **view()).split.tensors()
    with pytest.raises(TargetError, match="images have 1 or 3 channels, but the target's inputs have 4"):
        data_shift(folder, **view(pixels=Pixels((0.0,) * 4, (1.0,) * 4)))
    with pytest.raises(TargetError, match=r"no images \(n, c, h, w\): its example has shape \(1, 9\)"):
        data_shift(folder, pixels=GREY, example_input=torch.zeros(1, 9), classes=CLASSES)
