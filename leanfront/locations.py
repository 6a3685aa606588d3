"""Default locations: the database and the artifact folder."""

from __future__ import annotations

import os
from pathlib import Path

from leanfront.core.storage import ArtifactStore, Database, FrontierStore, Shelf

DEFAULT_DATABASE = "sqlite:///leanfront.db"
DEFAULT_ARTIFACTS = "leanfront-artifacts"


def database_url(url: str | None = None) -> str:
    """Return the database to use: the given one, `LEANFRONT_DATABASE`, or a file in the working folder."""
    return url or os.environ.get("LEANFRONT_DATABASE") or DEFAULT_DATABASE


def open_store(url: str | None = None) -> FrontierStore:
    """Open the store in a database; a new database gets its tables."""
    return FrontierStore(database_url(url))


def open_artifacts(database: Database) -> ArtifactStore:
    """Open the artifact folder of a database: `LEANFRONT_ARTIFACTS`; beside a SQLite file and named after it, so that
    no two databases share one; or in the working folder.
    """
    named = os.environ.get("LEANFRONT_ARTIFACTS")
    if named or database.path is None:
        return ArtifactStore(Path(named or DEFAULT_ARTIFACTS))
    return ArtifactStore(database.path.with_name(f"{database.path.stem}-artifacts"))


def open_shelf(store: FrontierStore) -> Shelf:
    """Open the artifact folder together with the store's record of needed files."""
    return Shelf(store.database, open_artifacts(store.database))
