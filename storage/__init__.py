"""Where searches are kept: tables, migrations, the store with its frontier, and files by content."""

from __future__ import annotations

from storage.artifacts import ArtifactStore
from storage.audits import AuditRecord
from storage.database import Database, open_database, upgrade
from storage.frontier_store import FrontierStore
from storage.integrity import Report, SearchCheck, check
from storage.jobs import Job, Jobs, Lease, Runner, runner_name
from storage.pages import Neighbours, Page, Step
from storage.reading import ArtifactRecord, FrontierReader
from storage.searches import require_name
from storage.shelf import Shelf
from storage.trials import TrialEvent

__all__ = [
    "ArtifactRecord",
    "ArtifactStore",
    "AuditRecord",
    "Database",
    "FrontierReader",
    "FrontierStore",
    "Job",
    "Jobs",
    "Lease",
    "Neighbours",
    "Page",
    "Report",
    "Runner",
    "SearchCheck",
    "Shelf",
    "Step",
    "TrialEvent",
    "check",
    "open_database",
    "require_name",
    "runner_name",
    "upgrade",
]
