from .artifacts import ArtifactStore
from .audits import AuditRecord
from .database import Database, open_database, upgrade
from .frontier_store import FrontierStore
from .integrity import Report, check
from .jobs import Job, Jobs, Lease, runner_name
from .marks import About, Mark, Marks
from .reading import ArtifactRecord
from .searches import require_name
from .shelf import Shelf
from .trials import TrialEvent

__all__ = [
    "About",
    "ArtifactRecord",
    "ArtifactStore",
    "AuditRecord",
    "Database",
    "FrontierStore",
    "Job",
    "Jobs",
    "Lease",
    "Mark",
    "Marks",
    "Report",
    "Shelf",
    "TrialEvent",
    "check",
    "open_database",
    "require_name",
    "runner_name",
    "upgrade",
]
