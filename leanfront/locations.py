"""Where a command or a call keeps things: the database and the artifact folder."""

from __future__ import annotations

import os
from pathlib import Path

from leanfront.core.storage import ArtifactStore, Database, FrontierStore, Shelf

DEFAULT_DATABASE = "sqlite:///leanfront.db"
DEFAULT_ARTIFACTS = "leanfront-artifacts"


def database_url(url: str | None = None) -> str:
    """The database to use: the one named, or `LEANFRONT_DATABASE`, or a file in the working folder."""
    return url or os.environ.get("LEANFRONT_DATABASE") or DEFAULT_DATABASE


def open_store(url: str | None = None) -> FrontierStore:
    """The store in a database; a new database is made ready."""
    return FrontierStore(database_url(url))


def open_artifacts(database: Database) -> ArtifactStore:
    """The artifact folder of a database: `LEANFRONT_ARTIFACTS`; or one beside a SQLite file and named after it, so
    that no two share one; or one in the working folder.
    """
    named = os.environ.get("LEANFRONT_ARTIFACTS")
    if named or database.path is None:
        return ArtifactStore(Path(named or DEFAULT_ARTIFACTS))
    return ArtifactStore(database.path.with_name(f"{database.path.stem}-artifacts"))


def open_shelf(store: FrontierStore) -> Shelf:
    """The artifact folder with the rows of a store that say who needs what in it."""
    return Shelf(store.database, open_artifacts(store.database))
