"""Names of folders and files that systems and tools put beside images, and that are no data."""

from __future__ import annotations

ASIDE = (
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "__pycache__",
)
"""Folders of archivers, network drives and systems; names that begin with a dot are hidden everywhere."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, such as ``.ipynb_checkpoints`` or ``@eaDir``."""
    return name.startswith(".") or name in ASIDE


def has_hidden_part(path: str) -> bool:
    """Return whether a path with slashes leads through a hidden folder, or to a hidden file."""
    return any(map(is_hidden, path.split("/")))
