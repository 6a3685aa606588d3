"""Image trees in folders and zip files, against torchvision's ImageFolder."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
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
from leanfront.core.targets.torchvision_models import CentreCrop
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


HIDDEN = (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".DS_Store", ".git")


@pytest.mark.parametrize("zip_file", [False, True], ids=["folder", "zip"])
def test_hidden_folders_and_files_are_no_classes(tmp_path: Path, write_tree: Any, zip_file: bool) -> None:
    folder = write_tree(tmp_path / "tree")
    expected = ImageArchive(folder)
    image = (folder / "train" / "ant" / "10.png").read_bytes()
    for name in HIDDEN:
        for place in (folder, folder / "train", folder / "train" / "ant"):
            inner = place / name / "deep"
            inner.mkdir(parents=True)
            (inner / "10-checkpoint.png").write_bytes(image)
    (folder / "train" / "ant" / "._10.png").write_bytes(b"resource fork")
    archive = ImageArchive(zipped(folder, tmp_path / "t.zip") if zip_file else folder)
    assert archive.classes == expected.classes
    assert archive.splits == expected.splits
    assert [archive.files(split) for split in archive.splits] == [
        expected.files(split) for split in expected.splits
    ]


def test_links_are_followed_unless_they_lead_in_a_circle(tmp_path: Path, write_tree: Any) -> None:
    folder = write_tree(tmp_path / "tree")
    (folder / "test").symlink_to(folder / "validation")
    (folder / "train" / "bee" / "more").symlink_to(write_tree(tmp_path / "other") / "train" / "ant")
    archive = ImageArchive(folder)
    assert len(archive.files("test")) == 9
    assert len(archive.files("train")) == 12
    for place, aim in (
        ("train/ant/loop", folder),
        ("train/ant/loop", folder / "train" / "ant"),
        ("all", tmp_path),
    ):
        (folder / place).symlink_to(aim)
        with pytest.raises(
            TargetError, match=f"'.*{place}' in '.*' is a symbolic link to a folder that holds it"
        ):
            ImageArchive(folder)
        (folder / place).unlink()
    (folder / "train" / "ant" / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(TargetError, match=r"'train/ant/gone\.png' in '.*' cannot be read: No such file"):
        ImageArchive(folder)


def content_of(kind: str) -> bytes:
    """An image file of some format."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 99, 199)).save(file, kind)
    return file.getvalue()


def replaced(folder: Path, content: bytes) -> Callable[..., torch.Tensor]:
    """Return a function that reads the one image whose content is replaced."""
    (folder / "train" / "ant" / "10.png").write_bytes(content)

    def read(**options: Any) -> torch.Tensor:
        tree = ImageTree(ImageArchive(folder, **options), "train", TRANSFORM)
        return tree[[name for name, _ in tree.samples].index("train/ant/10.png")][0]

    return read


@pytest.mark.parametrize("kind", ["EPS", "GIF", "PDF", "TGA", "PCX", "ICO"])
def test_other_formats_behind_the_name_of_an_image_are_refused(
    tmp_path: Path, write_tree: Any, kind: str
) -> None:
    read = replaced(write_tree(tmp_path), content_of(kind))
    with pytest.raises(
        TargetError, match=r"'train/ant/10\.png' in .* its content is none of JPEG, PNG, PPM, BMP"
    ):
        read()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP"])
def test_known_formats_are_read_under_any_name(tmp_path: Path, write_tree: Any, kind: str) -> None:
    assert replaced(write_tree(tmp_path), content_of(kind))().shape[0] == 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_truncated_image_is_named(tmp_path: Path, write_tree: Any, kind: str, share: float) -> None:
    whole = content_of(kind)
    read = replaced(write_tree(tmp_path), whole[: int(share * len(whole))])
    with pytest.raises(TargetError, match=r"the image 'train/ant/10\.png' in '.*' cannot be read"):
        read()


def bomb(width: int, height: int, rows: int | None = None) -> bytes:
    """A PNG of many pixels in a few bytes, of which some rows are there."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes((width // 8 + 1) * (rows or height)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (400_000, 1000), (16_000, 12_000)])
def test_a_decompression_bomb_is_named(tmp_path: Path, write_tree: Any, width: int, height: int) -> None:
    read = replaced(write_tree(tmp_path), bomb(width, height, rows=1))
    with pytest.raises(
        TargetError, match=r"'train/ant/10\.png' .*decompression bomb.*max_pixels=N raises it"
    ):
        read()


def test_the_limit_of_pixels_is_an_option(tmp_path: Path, write_tree: Any) -> None:
    read = replaced(write_tree(tmp_path), bomb(2000, 100))
    with pytest.raises(TargetError, match=r"2,000 x 100 pixels, .*max_pixels=199999 is the largest number"):
        read(max_pixels=199_999)
    assert read(max_pixels=200_000).shape[0] == 3
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 1000
    try:
        assert read(max_pixels=10**9).shape[0] == 3
        assert Image.MAX_IMAGE_PIXELS == 1000
    finally:
        Image.MAX_IMAGE_PIXELS = before


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path, write_tree: Any) -> None:
    folder = write_tree(tmp_path)
    with (folder / "train" / "ant" / "10.png").open("wb") as file:
        file.truncate(3 * 1024**2)
    tree = ImageTree(ImageArchive(folder, max_pixels=1000), "train", TRANSFORM)
    with pytest.raises(TargetError, match=r"'train/ant/10\.png' .*3,145,728 bytes"):
        tree[[name for name, _ in tree.samples].index("train/ant/10.png")]


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_an_image_that_grows_without_end_when_resized_is_named(
    tmp_path: Path, write_tree: Any, size: Any
) -> None:
    folder = write_tree(tmp_path)
    Image.new("L", size).save(folder / "train" / "ant" / "10.png")
    tree = ImageTree(ImageArchive(folder), "train", CentreCrop(224))
    with pytest.raises(TargetError, match=r"'train/ant/10\.png' .*cannot be made an input: it is too narrow"):
        Split.of("train", tree).tensors()
