"""Where searches are kept: tables, migrations, the store with its frontier, and files by content."""

from __future__ import annotations

from storage.artifacts import ArtifactStore
from storage.database import Database, open_database, upgrade
from storage.frontier_store import ArtifactRecord, FrontierStore, require_name
from storage.integrity import Report, SearchCheck, check

__all__ = [
    "ArtifactRecord",
    "ArtifactStore",
    "Database",
    "FrontierStore",
    "Report",
    "SearchCheck",
    "check",
    "open_database",
    "require_name",
    "upgrade",
]
