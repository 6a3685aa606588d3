"""Shifted data for a target: CIFAR-10-C and ImageNet-C folders, and other images of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from leanfront.core.audit.shift_images import (
    ArrayImages,
    ClassImages,
    ClassTree,
    Fit,
    array,
    folders,
    has_images,
    image_array,
)
from leanfront.core.targets import Split
from leanfront.core.targets.pixels import Pixels
from leanfront.errors import TargetError

SEVERITIES = (1, 2, 3, 4, 5)
LABELS = "labels.npy"
ARRAYS, IMAGES = "arrays", "images"
"""Kinds of folders of corrupted images: CIFAR-10-C's, and ImageNet-C's."""
JUDGED = ("test", "validation", "val")
"""Splits to read from a tree of splits, the preferred one first."""
OTHERS = ("train", "calibration")
FEW = 5
"""Number of class names that a message lists."""


@dataclass(frozen=True)
class Shift:
    """Images of another distribution, as inputs of a target.

    Attributes:
        name: corruption and severity, or name of the file or folder.
        split: inputs and the target's class numbers, read batch by batch and not kept.
        classes: numbers of the classes that have images, ascending.
        note: a remark for readers of the results, or None.
    """

    name: str
    split: Split
    classes: tuple[int, ...]
    note: str | None


@dataclass(frozen=True)
class CorruptionFolder:
    """A folder of corrupted images, by corruption and severity.

    Attributes:
        path: path of the folder.
        kind: `ARRAYS` or `IMAGES`.
        ways: every (corruption, severity) in the folder, in order.
        places: for `IMAGES`, the folder in `path` that holds the severities of each corruption.
    """

    path: Path
    kind: str
    ways: tuple[tuple[str, int], ...]
    places: dict[str, str]

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Names of the corruptions, in order."""
        return tuple(dict.fromkeys(corruption for corruption, _ in self.ways))

    def shift(
        self,
        corruption: str,
        severity: int,
        *,
        pixels: Pixels,
        example_input: Tensor,
        classes: Sequence[str],
    ) -> Shift:
        """Return the images of one corruption at one severity; the order of labels is the same for all of them.

        Args:
            corruption, severity: an entry of `ways`.
            pixels, example_input, classes: attributes of the target.

        Raises:
            TargetError: there are no such images, they cannot be read, or their classes are not the target's.
        """
        if (corruption, severity) not in self.ways:
            known = ", ".join(f"{name} {level}" for name, level in self.ways)
            raise TargetError(
                f"data: '{self.path}' has no {corruption} of severity {severity}; it has {known}"
            )
        name, fit = f"{corruption} {severity}", _fit(example_input, pixels)
        if self.kind == IMAGES:
            tree = ClassTree(self.path, f"{self.places[corruption]}{severity}/")
            return _of_tree(name, tree, classes, fit)
        file = self.path / f"{corruption}.npy"
        count = len(image_array(file))
        each, left = divmod(count, len(SEVERITIES))
        if left:
            raise TargetError(
                f"data: '{file}' has {count} images, which are not {len(SEVERITIES)} severities of equally many"
            )
        start = (severity - 1) * each
        labels = _labels(self.path / LABELS, count, classes)[start : start + each]
        note = f"the numbers in {LABELS} are taken as the target's: 0 is {classes[0]}"
        return _shift(name, ArrayImages(file, start, labels.tolist(), fit), len(classes), note)


def corruption_folder(path: str | Path) -> CorruptionFolder | None:
    """Find the corrupted images in a folder, or return None if it has another layout, such as plain images.

    CIFAR-10-C and CIFAR-100-C: ``<corruption>.npy`` with all severities one after another, and ``labels.npy``.
    ImageNet-C: ``<corruption>/<severity>/<class>/<image>``, also below one more folder a group of corruptions.

    Raises:
        TargetError: there is no such path, or arrays without labels or labels without arrays.
    """
    path = _existing(path)
    if path.is_file():
        return None
    arrays = sorted(file.stem for file in path.glob("*.npy") if file.name != LABELS)
    labelled = (path / LABELS).is_file()
    if arrays and labelled:
        return CorruptionFolder(
            path, ARRAYS, tuple((name, each) for name in arrays for each in SEVERITIES), {}
        )
    if arrays or labelled:
        missing = "<corruption>.npy" if labelled else LABELS
        raise TargetError(f"data: '{path}' has {LABELS if labelled else f'{arrays[0]}.npy'} but no {missing}")
    places: dict[str, str] = {}
    ways: list[tuple[str, int]] = []
    for place in _corruption_places(path):
        corruption = place.rstrip("/").rpartition("/")[2]
        if corruption in places:
            raise TargetError(f"data: '{path}' has {corruption} twice: {places[corruption]} and {place}")
        places[corruption] = place
        ways += [(corruption, severity) for severity in _severities(path, place)]
    return CorruptionFolder(path, IMAGES, tuple(ways), places) if ways else None


def _corruption_places(path: Path) -> list[str]:
    """List the folders in `path` that hold severities, directly or one level below."""
    found = []
    for top in folders(path):
        if top in (*JUDGED, *OTHERS):
            continue
        inner = (
            [f"{top}/"]
            if _severities(path, f"{top}/")
            else [f"{top}/{name}/" for name in folders(path, f"{top}/")]
        )
        found += [place for place in inner if _severities(path, place)]
    return found


def _severities(path: Path, place: str) -> list[int]:
    """List the severities in a folder, if it holds only folders named by severities, with class folders in them."""
    names = folders(path, place)
    if not names or not set(names) <= {str(severity) for severity in SEVERITIES}:
        return []
    # Class folders may have such names, too, but they hold images.
    trees = [name for name in names if folders(path, f"{place}{name}/")]
    plain = has_images(path, place) or any(has_images(path, f"{place}{name}/") for name in names)
    return [] if plain else [int(name) for name in trees]


def data_shift(path: str | Path, *, pixels: Pixels, example_input: Tensor, classes: Sequence[str]) -> Shift:
    """Read images of the target's classes from another source, such as ImageNet-A.

    Args:
        path: folder or zip file of ``<class>/<image>``, or of ``<split>/<class>/<image>``, where ``test`` is read,
            else ``validation`` or ``val``; a single folder around them is skipped.
        pixels, example_input, classes: attributes of the target.

    Raises:
        TargetError: the path cannot be read, holds no such images, or has classes that the target does not have.
            Images of some of the target's classes are enough.
    """
    path = _existing(path)
    tree = ClassTree(path, _class_folders(path, classes))
    return _of_tree(path.stem if path.is_file() else path.name, tree, classes, _fit(example_input, pixels))


def _class_folders(path: Path, classes: Sequence[str]) -> str:
    """Return the folder in `path` that holds the class folders."""
    inside = ""
    while not has_images(path, inside):
        found = folders(path, inside)
        splits = [
            name for name in (*JUDGED, *OTHERS) if name in found and _outer(path, inside, name, classes)
        ]
        if splits and splits[0] in OTHERS:
            raise TargetError(
                f"data: '{path}' has only {' and '.join(splits)}; give images to judge on, in test/ or validation/"
            )
        if splits:
            return f"{inside}{splits[0]}/"
        if len(found) != 1 or not _outer(path, inside, found[0], classes):
            break
        inside += f"{found[0]}/"
    return inside


def _outer(path: Path, inside: str, name: str, classes: Sequence[str]) -> bool:
    """Whether a folder is no class and holds folders instead of images."""
    place = f"{inside}{name}/"
    return name not in classes and not has_images(path, place) and bool(folders(path, place))


def match_classes(
    found: Sequence[str], classes: Sequence[str], where: str
) -> tuple[tuple[int, ...], str | None]:
    """Match class folders to the classes of the target.

    Folders are matched by name. If no name matches and there are as many folders as classes, they are matched in
    alphabetical order, or in numerical order if all names are numbers.

    Args:
        found: names of the folders.
        classes: names of the target's classes.
        where: location of the folders, for messages.

    Returns:
        The target's class number of each folder, and a note or None.

    Raises:
        TargetError: a folder is no class of the target.
    """
    number = {name: index for index, name in enumerate(classes)}
    unknown = [name for name in found if name not in number]
    if not unknown:
        missing = len(classes) - len(found)
        note = f"{where} has {len(found)} of the target's {len(classes)} classes" if missing else None
        return tuple(number[name] for name in found), note
    if len(unknown) == len(found) == len(classes):
        counted = all(name.isdecimal() for name in found)
        ordered = sorted(found, key=int) if counted else sorted(found)
        order = {name: index for index, name in enumerate(ordered)}
        return tuple(order[name] for name in found), (
            f"the folders in {where} have none of the target's class names and are taken in "
            f"{'the order of their numbers' if counted else 'alphabetical order'}: {ordered[0]} as {classes[0]} to "
            f"{ordered[-1]} as {classes[-1]}"
        )
    raise TargetError(
        f"data: {where} has {len(unknown)} class(es) that the target does not know: {_few(unknown)}; its "
        f"{len(classes)} are {_few(classes)}. Rename or remove the folders"
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:FEW]) + (" ..." if len(names) > FEW else "")


def _of_tree(name: str, tree: ClassTree, classes: Sequence[str], fit: Fit) -> Shift:
    numbers, note = match_classes(tree.classes, classes, f"'{tree.path}'")
    return _shift(name, ClassImages(tree, numbers, fit), len(classes), note)


def _shift(name: str, images: ClassImages | ArrayImages, classes: int, note: str | None) -> Shift:
    # Not kept in memory: an audit keeps the logits.
    split = Split.of(name, images, cache=False)
    counts = np.bincount(split.labels.numpy(), minlength=classes)
    return Shift(name, split, tuple(np.flatnonzero(counts).tolist()), note)


def _labels(file: Path, count: int, classes: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    labels = array(file)
    if (
        labels.ndim != 1
        or labels.dtype.kind not in "iu"
        or len(labels) not in (count, count // len(SEVERITIES))
    ):
        raise TargetError(
            f"data: '{file}' holds {labels.dtype} of shape {labels.shape}; expected one whole number for each of "
            f"the {count} images, or for each of one severity's"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise TargetError(
            f"data: '{file}' has labels from {labels.min()} to {labels.max()}, but the target has {len(classes)} "
            "classes"
        )
    return np.resize(labels.astype(np.int64), count)


def _fit(example_input: Tensor, pixels: Pixels) -> Fit:
    if example_input.ndim != 4:
        raise TargetError(
            f"the target's inputs are no images (n, c, h, w): its example has shape {tuple(example_input.shape)}"
        )
    height, width = example_input.shape[2:]
    return Fit(int(height), int(width), pixels)


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not path.exists():
        raise TargetError(f"data: there is no file or folder '{path}'")
    return path
