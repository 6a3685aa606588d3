"""Labelled images in a folder tree or a zip file of one, read in place."""

from __future__ import annotations

import copy
import os
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from leanfront.core.targets.hidden_names import has_hidden_part
from leanfront.core.targets.image_file import MAX_PIXELS, decode, require_size
from leanfront.core.targets.image_listing import EXTENSIONS, list_images
from leanfront.errors import TargetError

CHECKSUM_LIMIT = 256 * 1024**2
"""Largest number of bytes of a folder tree whose content is hashed; above it, path and size identify an image."""

THREAD_BYTES = 16384
"""Smallest file size for which decoding in threads pays off."""

Transform = Callable[[Image.Image], Tensor]


class PixelTransform:
    """Transform from a PIL image to float32 (3, size, size): resized if needed, scaled to [0, 1] and normalised.

    Args:
        size: height and width in pixels.
        mean, std: mean and standard deviation per channel, for pixels in [0, 1].
    """

    def __init__(self, size: int, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        self.size, self.mean, self.std = size, mean, std
        self._shift = torch.tensor(mean).view(3, 1, 1)
        self._scale = torch.tensor(std).view(3, 1, 1)

    def __call__(self, image: Image.Image) -> Tensor:
        return self.batch([image])[0]

    def batch(self, images: Sequence[Image.Image]) -> Tensor:
        """Transform n images to float32 (n, 3, size, size)."""
        pixels = np.stack([self._pixels(image) for image in images])
        return self.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))

    def _pixels(self, image: Image.Image) -> np.ndarray[Any, Any]:
        if image.mode != "RGB":
            image = image.convert("RGB")
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(image)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Normalise uint8 (..., 3, h, w) to float32 of the same shape."""
        return (pixels.float().div_(255) - self._shift).div_(self._scale).contiguous()

    def __repr__(self) -> str:
        return f"PixelTransform(size={self.size}, mean={self.mean}, std={self.std})"


class ImageArchive:
    """Image files of a folder tree, or of a zip file of one, by split and class.

    The layout is ``<split>/<class>/.../<image>``; a zip file may contain one enclosing folder. Classes are numbered
    alphabetically over all splits together (torchvision's ImageFolder does this within one split), so that numbers
    agree even if a split lacks a class. Hidden folders and files (``.ipynb_checkpoints``, ``@eaDir``, ``__MACOSX``)
    do not count.

    Args:
        path: path of the folder or the zip file.
        max_pixels: largest number of pixels of an image that is decoded.

    Raises:
        TargetError: the path does not exist, is not a zip file, has no images in this layout, or has a symbolic link
            in a circle.
    """

    max_pixels = MAX_PIXELS

    def __init__(self, path: str | Path, max_pixels: int = MAX_PIXELS) -> None:
        self.path = Path(path)
        self.max_pixels = max_pixels
        self._local = threading.local()
        self.is_zip = self.path.is_file()
        if not self.path.exists():
            raise TargetError(f"data: there is no file or folder '{self.path}'")
        try:
            found = self._list_zip() if self.is_zip else [(*each, None) for each in list_images(self.path)]
        except (zipfile.BadZipFile, OSError) as error:
            raise TargetError(
                f"data: '{self.path}' cannot be read as a zip file or folder of images: {error}"
            ) from error
        self._sizes = {name: size for name, size, _ in found}
        self._checksums = {name: checksum for name, _, checksum in found if checksum is not None}
        self._prefix = _wrapping(list(self._sizes)) if self.is_zip else ""
        splits: dict[str, list[tuple[str, str]]] = {}
        for name in self._sizes:
            parts = name.removeprefix(self._prefix).split("/")
            if len(parts) > 2 and parts[-1].lower().endswith(EXTENSIONS):
                splits.setdefault(parts[0], []).append((name, parts[1]))
        if not splits:
            raise TargetError(
                f"data: '{self.path}' holds no images as <split>/<class>/<image> with splits train, validation, "
                f"test and images of {', '.join(EXTENSIONS)}"
            )
        self.classes = tuple(sorted({label for files in splits.values() for _, label in files}))
        number = {label: index for index, label in enumerate(self.classes)}
        self._files = {
            split: [(name, number[label]) for name, label in sorted(files, key=_image_folder_order)]
            for split, files in splits.items()
        }

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the top-level folders with images."""
        return tuple(sorted(self._files))

    def files(self, split: str) -> list[tuple[str, int]]:
        """Return (path within the archive, class number) for the images of a split, in the order of ImageFolder."""
        return self._files[split]

    def numbered(self, classes: Sequence[str]) -> ImageArchive:
        """Return a copy that numbers its classes in this order, which names each of them once."""
        other = copy.copy(self)
        new = [classes.index(label) for label in self.classes]
        other.classes = tuple(classes)
        other._files = {
            split: [(name, new[label]) for name, label in files] for split, files in self._files.items()
        }
        return other

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        if self.is_zip:
            return self._handle().read(name)
        return (self.path / name).read_bytes()

    def size(self, name: str) -> int:
        """Return the uncompressed size of a file in bytes."""
        return self._sizes[name]

    def identity(self, name: str) -> str:
        """Return a string that identifies the content of a file: its size and CRC-32, or path in large folder trees.

        A folder and a zip file of the same tree give the same strings if checksums are available.
        """
        if name not in self._checksums and sum(self._sizes.values()) <= CHECKSUM_LIMIT:
            self._checksums[name] = zlib.crc32(self.read(name))
        size, checksum = self._sizes[name], self._checksums.get(name)
        return f"image:{size}:{checksum:08x}" if checksum is not None else f"image:{size}:{name}"

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_local"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def _handle(self) -> zipfile.ZipFile:
        # One handle per thread and process, since they would move each other's file position.
        if getattr(self._local, "process", None) != os.getpid():
            self._local.handle = zipfile.ZipFile(self.path)
            self._local.process = os.getpid()
        handle: zipfile.ZipFile = self._local.handle
        return handle

    def _list_zip(self) -> list[tuple[str, int, int | None]]:
        return [
            (entry.filename, entry.file_size, entry.CRC)
            for entry in self._handle().infolist()
            if not entry.is_dir() and not has_hidden_part(entry.filename)
        ]


def _wrapping(names: Sequence[str]) -> str:
    """Return the enclosing folder of a zip file with its slash, or an empty string."""
    tops = {name.partition("/")[0] for name in names}
    top = next(iter(tops)) if len(tops) == 1 else ""
    deep = all(name.count("/") > 2 for name in names)
    return f"{top}/" if top not in ("", "train", "validation", "val", "test", "calibration") and deep else ""


def _image_folder_order(file: tuple[str, str]) -> tuple[str, str, str]:
    name, label = file
    folder, _, base = name.rpartition("/")
    return label, folder, base


class ImageTree(Dataset[tuple[Tensor, int]]):
    """One split of an `ImageArchive` as a dataset of (input, class number). Can be pickled.

    Args:
        archive: archive of the images.
        split: name of the top-level folder.
        transform: function from RGB image to input; it must be picklable and print the same in every process.

    Raises:
        TargetError: the split does not exist; the message lists the existing ones.
    """

    def __init__(self, archive: ImageArchive, split: str, transform: Transform) -> None:
        if split not in archive.splits:
            raise TargetError(
                f"data: '{archive.path}' has no {split}/ with images; there is {', '.join(archive.splits)}"
            )
        self.archive = archive
        self.split = split
        self.transform = transform
        self.classes = archive.classes
        self.samples = archive.files(split)
        self.targets = [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        name, label = self.samples[index]
        return self._input(name), label

    def read_inputs(self, indices: Sequence[int]) -> Tensor | list[Tensor]:
        """Read the inputs of these images, in order; large images are decoded by as many threads as PyTorch uses."""
        names = [self.samples[index][0] for index in indices]
        if isinstance(self.transform, PixelTransform):
            return self.transform.batch(self._map(self._image, names))
        return self._map(self._input, names)

    def identities(self) -> list[str]:
        """Return one string per image that identifies its content without decoding it."""
        return [self.archive.identity(name) for name, _ in self.samples]

    def _map(self, function: Callable[[str], Any], names: Sequence[str]) -> list[Any]:
        threads = min(torch.get_num_threads(), len(names))
        # Decoding small images is faster than handing them to a thread.
        if threads < 2 or max(map(self.archive.size, names)) < THREAD_BYTES:
            return [function(name) for name in names]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(function, names))

    def _input(self, name: str) -> Tensor:
        image = self._image(name)
        try:
            return self.transform(image)
        except (ValueError, ArithmeticError) as error:
            raise TargetError(
                f"data: the image '{name}' in '{self.archive.path}' of {image.width} x {image.height} pixels cannot "
                f"be made an input: {error}; replace or remove it"
            ) from error

    def _image(self, name: str) -> Image.Image:
        try:
            require_size(self.archive.size(name), self.archive.max_pixels)
            return decode(self.archive.read(name), self.archive.max_pixels)
        except Exception as error:  # decoders raise anything about damaged files
            raise TargetError(
                f"data: the image '{name}' in '{self.archive.path}' cannot be read: "
                f"{str(error) or type(error).__name__}; replace or remove it"
            ) from error
