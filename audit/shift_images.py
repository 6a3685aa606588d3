"""Datasets of a target's inputs from external images: trees of class folders, and arrays of bytes."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from leanfront.core.targets.hidden_names import is_hidden
from leanfront.core.targets.image_listing import EXTENSIONS, list_images
from leanfront.core.targets.images import ImageArchive, ImageTree
from leanfront.core.targets.pixels import Pixels
from leanfront.errors import TargetError

LARGE = 64
"""Least pixels of the shorter side for inputs that are cropped from a larger image."""
RESIZE = 256 / 224
"""Shorter side of the resized image over the side of the centre crop, for large inputs: ImageNet's evaluation."""
WHOLE = "images"
"""The one split of a `ClassTree`."""


class Fit:
    """Transform of a PIL image to an input float32 (c, h, w): resize the shorter side, crop the centre, normalise.

    An image of the right size keeps its pixels.

    Args:
        height, width: size of the input in pixels.
        pixels: how inputs are made from pixels; one channel is grey, three are RGB.

    Raises:
        TargetError: the inputs have another number of channels.
    """

    def __init__(self, height: int, width: int, pixels: Pixels) -> None:
        if pixels.channels not in (1, 3):
            raise TargetError(f"images have 1 or 3 channels, but the target's inputs have {pixels.channels}")
        self.height, self.width, self.pixels = height, width, pixels
        self.mode = "L" if pixels.channels == 1 else "RGB"
        self._factor = RESIZE if min(height, width) >= LARGE else 1.0

    def __call__(self, image: Image.Image) -> Tensor:
        return self.pixels.inputs(self._levels(image).float() / 255)

    def batch(self, images: NDArray[np.uint8]) -> Tensor:
        """Turn images uint8 (n, h, w, 3) of any size into inputs (n, c, height, width)."""
        if images.shape[1:3] == (self.height, self.width) and self.mode == "RGB":
            levels = torch.from_numpy(images).permute(0, 3, 1, 2)
        else:
            levels = torch.stack([self._levels(Image.fromarray(image)) for image in images])
        return self.pixels.inputs(levels.float() / 255).contiguous()

    def _levels(self, image: Image.Image) -> Tensor:
        if image.mode != self.mode:
            image = image.convert(self.mode)
        if image.size != (self.width, self.height):
            image = self._cut(image)
        levels = torch.from_numpy(np.array(image))
        return levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1)

    def _cut(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        # Truncated as torchvision's Resize does, so that both give the same crop.
        if self.height * width >= self.width * height:
            short = round(self.height * self._factor)
            size = (short * width // height, short)
        else:
            short = round(self.width * self._factor)
            size = (short, short * height // width)
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = round((size[0] - self.width) / 2), round((size[1] - self.height) / 2)
        return image.crop((left, top, left + self.width, top + self.height))

    def __repr__(self) -> str:
        return f"Fit({self.height}, {self.width}, factor={self._factor:.4f}, {self.pixels})"


class ClassTree(ImageArchive):
    """The images below one folder of a folder or zip, ``<class>/.../<image>``, as the one split `WHOLE`.

    Args:
        path: path of the folder or zip file.
        inside: folder in it that holds the class folders, ending in a slash, or nothing.

    Raises:
        TargetError: the path cannot be read, holds no such images, or has a symbolic link in a circle.
    """

    def __init__(self, path: str | Path, inside: str = "") -> None:
        self.path = Path(path)
        self._local = threading.local()
        self.is_zip = self.path.is_file()
        try:
            listed = (
                self._list_zip()
                if self.is_zip
                else [(*each, None) for each in list_images(self.path, inside)]
            )
        except (zipfile.BadZipFile, OSError) as error:
            raise TargetError(
                f"data: '{self.path}' cannot be read as a zip file or folder: {error}"
            ) from error
        found = {}
        for name, size, checksum in listed:
            parts = name.removeprefix(inside).split("/")
            if name.startswith(inside) and len(parts) > 1 and _is_image(parts[-1]):
                found[name] = (parts[0], size, checksum)
        if not found:
            where = f" in {inside}" if inside else ""
            raise TargetError(
                f"data: '{self.path}' holds no images as <class>/<image>{where}; images are {', '.join(EXTENSIONS)}"
            )
        self._sizes = {name: size for name, (_, size, _) in found.items()}
        self._checksums = {name: known for name, (_, _, known) in found.items() if known is not None}
        self._prefix = inside
        self.classes = tuple(sorted({label for label, _, _ in found.values()}))
        number = {label: index for index, label in enumerate(self.classes)}
        order = sorted(found, key=lambda name: (found[name][0], name.rpartition("/")[::2]))
        self._files = {WHOLE: [(name, number[found[name][0]]) for name in order]}


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not is_hidden(name)


def folders(path: Path, inside: str = "") -> list[str]:
    """List the names of the folders directly in a folder of a folder or zip file, sorted, without hidden ones.

    Raises:
        TargetError: the path cannot be read.
    """
    return [name for name, is_folder in _children(path, inside) if is_folder]


def has_images(path: Path, inside: str = "") -> bool:
    """Whether image files lie directly in this folder of a folder or zip file."""
    return any(not is_folder and _is_image(name) for name, is_folder in _children(path, inside))


def _children(path: Path, inside: str) -> list[tuple[str, bool]]:
    try:
        if path.is_file():
            with zipfile.ZipFile(path) as archive:
                below = [name.removeprefix(inside) for name in archive.namelist() if name.startswith(inside)]
            found = {(name.split("/")[0], "/" in name) for name in below if name}
        else:
            found = {(entry.name, entry.is_dir()) for entry in os.scandir(path / inside)}
    except (zipfile.BadZipFile, OSError) as error:
        raise TargetError(f"data: '{path}' cannot be read as a zip file or folder: {error}") from error
    return sorted((name, kind) for name, kind in found if not is_hidden(name))


class ClassImages(ImageTree):
    """Images of a `ClassTree` with a target's class numbers.

    Args:
        tree: the images.
        numbers: the target's class number for each class of the tree.
        fit: transform of an image to an input.
    """

    def __init__(self, tree: ClassTree, numbers: Sequence[int], fit: Fit) -> None:
        super().__init__(tree, WHOLE, fit)
        self.samples = [(name, numbers[label]) for name, label in self.samples]
        self.targets = [label for _, label in self.samples]


class ArrayImages(Dataset[tuple[Tensor, int]]):
    """Rows of an array file of images, read on access. It can be pickled.

    Args:
        file: ``.npy`` file of uint8 (m, h, w, 3).
        start: first row.
        targets: class number of each row.
        fit: transform of images to inputs.

    Raises:
        TargetError: the file cannot be read or holds another kind of array.
    """

    def __init__(self, file: Path, start: int, targets: Sequence[int], fit: Fit) -> None:
        self.file, self.start, self.targets, self.transform = file, start, list(targets), fit
        self._rows: Any = None

    @property
    def data(self) -> NDArray[np.uint8]:
        """The images uint8 (n, h, w, 3), on disk."""
        if self._rows is None:
            self._rows = image_array(self.file)[self.start : self.start + len(self.targets)]
        rows: NDArray[np.uint8] = self._rows
        return rows

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.read_inputs([index])[0], self.targets[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None}

    def read_inputs(self, indices: Sequence[int]) -> Tensor:
        """Read inputs float32 (len(indices), c, h, w)."""
        return self.transform.batch(np.asarray(self.data[list(indices)]))


def image_array(file: Path) -> NDArray[np.uint8]:
    """Open a ``.npy`` file of uint8 (m, h, w, 3), left on disk.

    Raises:
        TargetError: the file cannot be read or holds another kind of array.
    """
    images = array(file)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not images.size:
        raise TargetError(
            f"data: '{file}' holds {images.dtype} of shape {images.shape}; expected uint8 images (n, h, w, 3)"
        )
    return images


def array(file: Path) -> NDArray[Any]:
    """Open the array in a ``.npy`` file, left on disk; objects that need unpickling are refused.

    Raises:
        TargetError: the file cannot be read.
    """
    try:
        found: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TargetError(f"data: '{file}' cannot be read as an array: {error}") from error
    return found
