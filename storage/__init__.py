"""Where searches are kept: tables, migrations, the store with its frontier, and files by content."""

from __future__ import annotations

from leanfront.core.storage.artifacts import ArtifactStore
from leanfront.core.storage.audits import AuditRecord
from leanfront.core.storage.database import Database, open_database, upgrade
from leanfront.core.storage.frontier_store import FrontierStore
from leanfront.core.storage.integrity import Report, SearchCheck, check
from leanfront.core.storage.jobs import Job, Jobs, Lease, Runner, runner_name
from leanfront.core.storage.pages import Neighbours, Page, Step
from leanfront.core.storage.reading import ArtifactRecord, FrontierReader
from leanfront.core.storage.searches import require_name
from leanfront.core.storage.shelf import Shelf
from leanfront.core.storage.trials import TrialEvent

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
