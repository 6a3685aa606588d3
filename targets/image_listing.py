"""Image files of a folder tree."""

from __future__ import annotations

import os
from pathlib import Path

from leanfront.core.targets.hidden_names import is_hidden
from leanfront.errors import TargetError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""File name endings of images: torchvision's list."""


def list_images(path: Path, inside: str = "") -> list[tuple[str, int]]:
    """Return (path with slashes within the tree, bytes) of every image, without hidden files and folders.

    Symbolic links are followed.

    Args:
        path: root of the tree.
        inside: folder in it that is listed alone, with a slash at its end.

    Raises:
        TargetError: a link leads to a folder that holds it, or nowhere.
        OSError: the folder cannot be read.
    """
    found: list[tuple[str, int]] = []
    _walk(path, inside, (os.path.realpath(path), os.path.realpath(path / inside)), found)
    return found


def _walk(root: Path, inside: str, above: tuple[str, ...], found: list[tuple[str, int]]) -> None:
    """Add the images of one folder, then those of the folders in it.

    Args:
        root: root of the tree.
        inside: path of the folder within the tree, with a slash at its end, or "" for the root.
        above: real paths of this folder and of those that lead to it.
        found: images so far.
    """
    folders = []
    with os.scandir(root / inside) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            name = inside + entry.name
            if entry.is_dir():
                folders.append((name, entry.is_symlink()))
            elif entry.name.lower().endswith(EXTENSIONS):
                found.append((name, _size(root, name)))
    for name, linked in folders:
        real = os.path.realpath(root / name)
        if linked and real in above:
            raise TargetError(
                f"data: '{name}' in '{root}' is a symbolic link to a folder that holds it ('{real}'), so that its "
                "images would be counted without end; remove the link"
            )
        _walk(root, f"{name}/", (*above, real), found)


def _size(root: Path, name: str) -> int:
    try:
        return os.stat(root / name).st_size
    except OSError as error:
        raise TargetError(
            f"data: '{name}' in '{root}' cannot be read: {error.strerror}; remove or replace it (a symbolic link "
            "that leads nowhere?)"
        ) from error
