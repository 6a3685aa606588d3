"""Levels: sets of compressed versions that candidates are compared with, besides the dense model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leanfront.deferred import Deferred
from leanfront.errors import UsageError

if TYPE_CHECKING:
    from leanfront.core.audit.versions import Version
    from leanfront.core.compressors import Structure


@dataclass(frozen=True)
class Level:
    """A set of compressed versions.

    Args:
        name: name in options.
        title: title for readers.
        versions: function that makes the versions from the structure of a model.
    """

    name: str
    title: str
    versions: Callable[[Structure], Sequence[Version]]


LEVELS: dict[str, Level] = {
    level.name: level
    for level in (
        Level(
            "pruning",
            "magnitude pruning after training",
            Deferred("leanfront.core.audit.versions:magnitude_pruned"),
        ),
        Level(
            "gradual",
            "magnitude pruning while training",
            Deferred("leanfront.core.audit.versions:gradually_pruned"),
        ),
        Level(
            "quantisation",
            "quantisation schemes",
            Deferred("leanfront.core.audit.versions:quantised"),
        ),
    )
}
"""Sets of versions by name: unstructured magnitude pruning after training, and while training (Zhu and Gupta
2017), at .1 to .9; and the three quantisation schemes of Hooker et al. 2019."""


def of_levels(names: Sequence[str], structure: Structure) -> list[Version]:
    """Return the versions of some sets.

    Raises:
        UsageError: a set is unknown.
    """
    unknown = [name for name in names if name not in LEVELS]
    if unknown:
        raise UsageError(f"unknown levels: {', '.join(unknown)}; known: {', '.join(LEVELS)}")
    return [version for name in dict.fromkeys(names) for version in LEVELS[name].versions(structure)]
