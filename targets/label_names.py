"""Class names of data in the order of a trained model's outputs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from leanfront.errors import TargetError

_UNNAMED = re.compile(r"LABEL_\d+")
LISTED = 5
"""Largest number of names in a message."""


def in_models_order(reference: str, found: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of data in the order of a model's outputs.

    A folder belongs to a label of the same name, or to one of its synonyms separated by commas; upper case,
    underscores and hyphens do not matter. Folders of which none is named like a label, such as ImageNet's wnids, are
    taken in their own order, as are all if the model has no names.

    Args:
        reference: reference of the target, for messages.
        found: names of the classes in the data, in alphabetical order.
        labels: the model's names, in the order of its outputs.

    Raises:
        TargetError: the numbers differ, or some names belong to each other and others do not.
    """
    if len(found) != len(labels):
        raise TargetError(
            f"{reference} tells {len(labels)} classes apart ({_some(labels)}), but the data have {len(found)} "
            f"({_some(found)}); give all {len(labels)} classes, or weights trained on yours"
        )
    if all(_UNNAMED.fullmatch(label) for label in labels):
        return tuple(found)
    by_name = {name: label for label in found for name in _names(label)}
    matched = [next((by_name[name] for name in _names(label) if name in by_name), None) for label in labels]
    if not any(matched):
        return tuple(found)
    lacking = [label for label, match in zip(labels, matched, strict=True) if match is None]
    if lacking or len(set(matched)) < len(matched):
        extra = [label for label in found if label not in matched]
        raise TargetError(
            f"{reference}: the data lack the model's class(es) {_some(lacking or labels)}, and the model does not "
            f"know {_some(extra)}; name the classes of the data like the model's"
        )
    return tuple(match for match in matched if match is not None)


def _names(label: str) -> list[str]:
    """Return the whole name and its synonyms in plain form."""
    return [re.sub(r"[\s_-]+", " ", part).strip().lower() for part in (label, *label.split(","))]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(repr, names[:LISTED])) + more
