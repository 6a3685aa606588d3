from .artifacts import ArtifactStore
from .audits import AuditRecord
from .database import Database, open_database, upgrade
from .frontier_store import FrontierStore
from .integrity import Report, SearchCheck, check
from .jobs import Job, Jobs, Lease, Runner, runner_name
from .marks import About, Mark, Marks
from .pages import Neighbours, Page, Step
from .reading import ArtifactRecord, FrontierReader
from .searches import require_name
from .shelf import Shelf
from .trials import TrialEvent

__all__ = [
    "About",
    "ArtifactRecord",
    "ArtifactStore",
    "AuditRecord",
    "Database",
    "FrontierReader",
    "FrontierStore",
    "Job",
    "Jobs",
    "Lease",
    "Mark",
    "Marks",
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
