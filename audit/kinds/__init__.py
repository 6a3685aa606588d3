"""The kinds of audits, one folder each; importing them loads only their specifications.

A folder holds everything of a kind: its specification ``KIND`` in ``kind.py``, its measurements in ``audit.py``, its
presentation in ``tables.py`` and ``figures.py``, and its statistics. A line in `FOLDERS` registers it.
"""

from __future__ import annotations

from importlib import import_module

from leanfront.core.audit.kind import Kind

FOLDERS = (
    "classes",
    "exemplars",
    "calibration",
    "robustness",
    "limits",
    "bounds",
    "capacity",
    "geometry",
)
"""Kinds in the order in which they are shown."""

KINDS: dict[str, Kind] = {}
"""Kinds of audits by name, in that order, followed by those of users."""


def register(kind: Kind) -> Kind:
    """Add a kind to the registry.

    Raises:
        ValueError: its name is taken.
    """
    if kind.name in KINDS:
        raise ValueError(f"audit kind '{kind.name}' is registered already")
    KINDS[kind.name] = kind
    return kind


for _folder in FOLDERS:
    register(import_module(f"{__name__}.{_folder}.kind").KIND)
