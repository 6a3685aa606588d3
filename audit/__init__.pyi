from .answers import Answers
from .auditor import Auditor
from .kind import Findings, Kind
from .kinds import KINDS, register
from .kinds.limits.space_bounds import bounds_of
from .levels import LEVELS
from .options import PATHS, AuditOptions
from .runs import kinds_of, run
from .versions import Configured, Dense, Version, of_candidate

__all__ = [
    "KINDS",
    "LEVELS",
    "PATHS",
    "Answers",
    "AuditOptions",
    "Auditor",
    "Configured",
    "Dense",
    "Findings",
    "Kind",
    "Version",
    "bounds_of",
    "kinds_of",
    "of_candidate",
    "register",
    "run",
]
