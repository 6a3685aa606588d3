"""Image trees in folders and zip files, against torchvision's ImageFolder."""

from __future__ import annotations

import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from leanfront.core.targets import Split
from leanfront.core.targets import images as images_module
from leanfront.core.targets.images import ImageArchive, ImageTree, PixelTransform
from leanfront.errors import TargetError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REFERENCE = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
TRANSFORM = PixelTransform(8, MEAN, STD)


def zipped(folder: Path, path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, inside + file.relative_to(folder).as_posix())
        archive.writestr("__MACOSX/train/ant/._1.png", b"junk")
    return path


@pytest.fixture(params=["folder", "zip", "wrapped zip"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, write_tree: Any) -> ImageArchive:
    folder = write_tree(tmp_path / "tree")
    if request.param == "folder":
        return ImageArchive(folder)
    return ImageArchive(zipped(folder, tmp_path / "t.zip", "data/" if "wrapped" in request.param else ""))


def test_equals_image_folder(archive: ImageArchive, tmp_path: Path) -> None:
    expected = ImageFolder(str(tmp_path / "tree" / "train"), REFERENCE)
    tree = ImageTree(archive, "train", TRANSFORM)
    assert list(tree.classes) == expected.classes
    assert tree.targets == expected.targets
    assert len(tree) == len(expected) == 9
    assert [Path(name).name for name, _ in tree.samples] == [Path(name).name for name, _ in expected.samples]
    for index in range(9):
        assert tree[index][1] == expected[index][1]
        torch.testing.assert_close(tree[index][0], expected[index][0])
    split = Split.of("train", tree)
    torch.testing.assert_close(split.tensors()[0], torch.stack([x for x, _ in expected]))
    assert split.subset([2, 5]).digest == Split.of("x", tree).subset([2, 5]).digest
    again = pickle.loads(pickle.dumps(tree))
    assert torch.equal(again[4][0], tree[4][0])


def test_folder_and_zip_have_one_digest(tmp_path: Path, write_tree: Any) -> None:
    folder = write_tree(tmp_path / "tree")
    archives = [ImageArchive(folder), ImageArchive(zipped(folder, tmp_path / "t.zip"))]
    digests = {Split.of("test", ImageTree(a, "train", TRANSFORM)).digest for a in archives}
    assert len(digests) == 1
    other = Split.of("test", ImageTree(archives[0], "train", PixelTransform(9, MEAN, STD))).digest
    assert {other, Split.of("test", ImageTree(archives[0], "validation", TRANSFORM)).digest}.isdisjoint(
        digests
    )


def test_a_large_tree_is_told_by_paths_and_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_tree: Any
) -> None:
    monkeypatch.setattr(images_module, "CHECKSUM_LIMIT", 0)
    tree = ImageTree(ImageArchive(write_tree(tmp_path)), "train", TRANSFORM)
    assert all(name in identity for (name, _), identity in zip(tree.samples, tree.identities(), strict=True))


def test_a_class_missing_from_one_split_shifts_no_number(tmp_path: Path, write_tree: Any) -> None:
    write_tree(tmp_path)
    for file in (tmp_path / "validation" / "ant").iterdir():
        file.unlink()
    archive = ImageArchive(tmp_path)
    assert set(ImageTree(archive, "validation", TRANSFORM).targets) == {0, 2}
    assert archive.classes == ("Zebra", "ant", "bee")


def test_other_sizes_and_modes_become_rgb_of_the_size() -> None:
    for mode in ("L", "RGBA", "P", "CMYK"):
        assert PixelTransform(5, MEAN, STD)(Image.new(mode, (9, 7))).shape == (3, 5, 5)


def test_threads_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_tree: Any) -> None:
    zip_path = zipped(write_tree(tmp_path / "tree", per_class=12), tmp_path / "t.zip")
    tree = ImageTree(ImageArchive(zip_path), "train", TRANSFORM)
    one = tree.read_inputs(range(36))
    monkeypatch.setattr(images_module, "THREAD_BYTES", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    many = tree.read_inputs(range(36))
    assert isinstance(one, torch.Tensor)
    assert isinstance(many, torch.Tensor)
    assert torch.equal(one, many)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(x, one[i]) for i, (x, _) in enumerate(pool.map(tree.__getitem__, range(36))))


def test_a_forked_process_opens_its_own_zip(
    tmp_path: Path, write_tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = ImageArchive(zipped(write_tree(tmp_path / "tree"), tmp_path / "t.zip"))
    before = archive._handle()
    assert archive._handle() is before
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert archive._handle() is not before


def test_an_unreadable_image_is_named(archive: ImageArchive, tmp_path: Path, write_tree: Any) -> None:
    path = tmp_path / "broken"
    write_tree(path)
    (path / "train" / "ant" / "10.png").write_bytes(b"no image")
    for broken in (ImageArchive(path), ImageArchive(zipped(path, tmp_path / "broken.zip"))):
        with pytest.raises(
            TargetError, match=r"the image 'train/ant/10\.png' in '.*broken.*' cannot be read"
        ):
            Split.of("train", ImageTree(broken, "train", TRANSFORM)).tensors()


def test_bad_trees_are_refused(tmp_path: Path, write_tree: Any) -> None:
    with pytest.raises(TargetError, match="there is no file or folder"):
        ImageArchive(tmp_path / "none")
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(TargetError, match=r"a\.zip' cannot be read as a zip file"):
        ImageArchive(tmp_path / "a.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TargetError, match="holds no images as <split>/<class>/<image>"):
        ImageArchive(tmp_path / "empty")
    with pytest.raises(TargetError, match="has no test/ with images; there is train, validation"):
        ImageTree(ImageArchive(write_tree(tmp_path / "tree")), "test", TRANSFORM)
