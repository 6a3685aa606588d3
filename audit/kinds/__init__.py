"""The kinds of audits, a folder each: importing them loads their specifications alone.

A folder holds all of a kind: ``kind.py`` its specification ``KIND``, ``audit.py`` what it measures, ``tables.py`` and
``figures.py`` how it is shown, beside them its statistics. It is registered by a line in `FOLDERS`.
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
"""Kinds in the order that they are best read in."""

KINDS: dict[str, Kind] = {}
"""Kinds of audits by name, in that order; those of users come after."""


def register(kind: Kind) -> Kind:
    """Add a kind to the registry; its name must be free."""
    if kind.name in KINDS:
        raise ValueError(f"audit kind '{kind.name}' is registered already")
    KINDS[kind.name] = kind
    return kind


for _folder in FOLDERS:
    register(import_module(f"{__name__}.{_folder}.kind").KIND)
