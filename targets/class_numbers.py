"""Numbers of classes as datasets declare them, and their comparison between splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from leanfront.core.targets.hidden_names import is_hidden
from leanfront.errors import TargetError

DEPTH = 8
"""Largest number of wrappers through which a dataset is looked for."""
REMEDY = (
    "ImageFolder numbers the folders that it finds: give every split the same class folders (an empty one needs "
    "allow_empty=True), or map the labels with target_transform"
)


@dataclass(frozen=True)
class Numbering:
    """Numbers of the classes of a dataset.

    Args:
        names: number -> names of the class; ImageNet has several for one class.
        own: whether the dataset that gives the samples declares it, and not one inside a wrapper, which could have
            changed the labels.
    """

    names: Mapping[int, frozenset[str]]
    own: bool = True

    @property
    def places(self) -> dict[str, set[int]]:
        """Name -> its numbers; two classes may have the same name."""
        found: dict[str, set[int]] = {}
        for number, names in self.names.items():
            for name in names:
                found.setdefault(name, set()).add(number)
        return found

    def named(self, number: int) -> str:
        """Return the name of a class for messages."""
        return "/".join(sorted(self.names[number]))


def numbering_of(name: str, source: Any, labels: Tensor) -> Numbering | None:
    """Return how the source of a split numbers its classes, or None if it does not say.

    Looks at `class_to_idx`, `classes` and a feature with `names` (datasets of Hugging Face), through Subset,
    ConcatDataset, loaders and wrappers of one dataset. A `target_transform` is applied to the numbers.

    Args:
        name: name of the split, for messages.
        source: dataset or loader.
        labels: int64 (n,) labels of the split, by which a wrapper that changed them is recognised.

    Raises:
        TargetError: parts of a ConcatDataset number their classes differently, or a class is a hidden folder.
    """
    found = _numbering(name, source, 0)
    if found is None:
        return None
    hidden = next((each for each in sorted(found.places) if is_hidden(each)), None)
    if hidden is not None:
        raise TargetError(
            f"{name}: the class {hidden!r} is a hidden folder that a tool or a system made, and it shifts the "
            "numbers of the classes after it: delete the folder"
        )
    used = set(torch.unique(labels).tolist())
    # Labels that the declaration does not know were changed on the way.
    return found if used <= found.names.keys() else None


def _numbering(name: str, source: Any, depth: int) -> Numbering | None:
    if depth > DEPTH:
        return None
    if isinstance(source, Subset):
        return _numbering(name, source.dataset, depth)
    if isinstance(source, ConcatDataset):
        return _of_parts(name, [_numbering(name, part, depth + 1) for part in source.datasets])
    declared = _declared(source)
    if declared is not None:
        return _transformed(source, declared)
    inner = _wrapped(source)
    found = None if inner is None else _numbering(name, inner, depth + 1)
    return None if found is None else Numbering(found.names, own=_is_loader(source) and found.own)


def _of_parts(name: str, parts: Sequence[Numbering | None]) -> Numbering | None:
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    for index, part in enumerate(known[1:], start=1):
        difference = _difference(part, known[0])
        if difference is not None:
            raise TargetError(f"{name}: part {index} of the ConcatDataset {difference} in part 0; {REMEDY}")
    return Numbering(known[0].names, all(part.own for part in known))


def _declared(dataset: Any) -> dict[int, frozenset[str]] | None:
    """Return number -> names, as the dataset itself says."""
    numbers = getattr(dataset, "class_to_idx", None)
    if isinstance(numbers, Mapping) and numbers and all(_is_number(value) for value in numbers.values()):
        found: dict[int, set[str]] = {}
        for label, number in numbers.items():
            found.setdefault(int(number), set()).add(str(label))
        return {number: frozenset(labels) for number, labels in found.items()}
    listed = getattr(dataset, "classes", None)
    if listed is None:
        features = getattr(dataset, "features", None)
        values = features.values() if isinstance(features, Mapping) else ()
        named = [each.names for each in values if isinstance(getattr(each, "names", None), list)]
        listed = named[0] if len(named) == 1 else None
    if not isinstance(listed, list | tuple | np.ndarray) or not len(listed):
        return None
    if not all(isinstance(each, str | tuple | list | np.str_) for each in listed):
        return None
    return {number: _names(each) for number, each in enumerate(listed)}


def _names(entry: Any) -> frozenset[str]:
    return frozenset(map(str, entry)) if isinstance(entry, tuple | list) else frozenset((str(entry),))


def _transformed(dataset: Any, names: Mapping[int, frozenset[str]]) -> Numbering | None:
    """Apply the `target_transform` of torchvision's datasets to the numbers; None if that gives no numbers."""
    transform = getattr(dataset, "target_transform", None)
    if transform is None:
        return Numbering(names)
    found: dict[int, frozenset[str]] = {}
    try:
        for number, labels in names.items():
            made = int(transform(number))
            found[made] = found.get(made, frozenset()) | labels
    except Exception:
        return None  # the labels of the samples are checked anyway
    return Numbering(found)


def _wrapped(source: Any) -> Any:
    """Return the only dataset that an object holds as an attribute, or None."""
    if _is_loader(source):
        return source.dataset
    held = [value for value in getattr(source, "__dict__", {}).values() if _is_dataset(value)]
    return held[0] if len(held) == 1 else None


def _is_loader(source: Any) -> bool:
    return isinstance(source, torch.utils.data.DataLoader)


def _is_dataset(value: Any) -> bool:
    if isinstance(value, torch.utils.data.Dataset):
        return True
    return hasattr(value, "__getitem__") and (hasattr(value, "class_to_idx") or hasattr(value, "features"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_same_classes(numberings: Mapping[str, Numbering | None], classes: Sequence[str] | None) -> None:
    """Check that all splits number the classes alike, and as the target's own names say.

    Names of the target that no split declares are taken as names for display.

    Args:
        numberings: split name -> its numbering, or None if it declares none.
        classes: names in the order of the model's outputs, or None if the target names none.

    Raises:
        TargetError: two splits differ, or a split differs from `classes`; the message names the class and the split.
    """
    known = {name: numbering for name, numbering in numberings.items() if numbering is not None}
    # The split with most classes is the measure for the others; with equally many, the one the model learned from.
    order = sorted(known, key=lambda each: (-len(known[each].names), each != "train"))
    for name in order[1:]:
        difference = _difference(known[name], known[order[0]])
        if difference is not None:
            raise TargetError(f"{name}: {difference} in {order[0]}; {REMEDY}")
    if classes is None:
        return
    own = Numbering({number: frozenset((str(each),)) for number, each in enumerate(classes)})
    for name in order:
        found = known[name]
        if not found.own or not found.places.keys() & own.places.keys():
            continue
        difference = _difference(found, own, renamed=True)
        if difference is not None:
            raise TargetError(
                f"{name}: {difference} in the target's classes; give classes=[...] in the order in which the model "
                f"was trained, and data in that order; {REMEDY}"
            )


def _difference(one: Numbering, other: Numbering, *, renamed: bool = False) -> str | None:
    """Return how one numbering differs from another, to be followed by ``in <the other>``; None if it does not.

    A numbering with gaps was written by hand, and may lack classes.

    Args:
        renamed: accept another name for the same number.
    """
    places = other.places
    moved = sorted(
        (number, name, min(places[name]))
        for name, numbers in one.places.items()
        for number in numbers
        if name in places and number not in places[name]
    )
    missing = sorted(
        number
        for number, names in other.names.items()
        if not names & one.places.keys() and not (renamed and number in one.names)
    )
    dense = one.names.keys() == set(range(len(one.names)))
    if missing and (dense or moved):
        said = f"it lacks the class {other.named(missing[0])!r}, which is number {missing[0]}"
        if moved:
            number, name, elsewhere = moved[0]
            said = (
                f"it lacks the class {other.named(missing[0])!r}, so that the class {name!r} is number {number} in "
                f"it, but {elsewhere}"
            )
        return said
    if moved:
        number, name, elsewhere = moved[0]
        return f"the class {name!r} is number {number} in it, but {elsewhere}"
    extra = sorted(
        number
        for number, names in one.names.items()
        if not names & places.keys() and not (renamed and number in other.names)
    )
    if extra:
        return f"it has the class {one.named(extra[0])!r} as number {extra[0]}, which is unknown"
    return None
