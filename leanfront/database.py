"""Where a command or a call keeps things: the database and the artifact folder."""

from __future__ import annotations

import os
from pathlib import Path

from storage import ArtifactStore, FrontierStore

DEFAULT_DATABASE = "sqlite:///leanfront.db"
DEFAULT_ARTIFACTS = "leanfront-artifacts"


def database_url(url: str | None = None) -> str:
    """The database to use: the one named, or `LEANFRONT_DATABASE`, or a file in the working folder."""
    return url or os.environ.get("LEANFRONT_DATABASE") or DEFAULT_DATABASE


def open_store(url: str | None = None) -> FrontierStore:
    """The store in a database; a new database is made ready."""
    return FrontierStore(database_url(url))


def open_artifacts() -> ArtifactStore:
    """The artifact folder: `LEANFRONT_ARTIFACTS`, or one in the working folder."""
    return ArtifactStore(Path(os.environ.get("LEANFRONT_ARTIFACTS") or DEFAULT_ARTIFACTS))
