"""What compression did to a model, against the dense one: populations of models, suites of images, reports.

A kind of audit (`KINDS`) is a function of an `Auditor`, which knows the models and what they answer; its statistics
are pure functions of those answers.
"""

from __future__ import annotations

from leanfront.core.audit.answers import Answers
from leanfront.core.audit.auditor import Auditor, StoppedError
from leanfront.core.audit.kinds import KINDS, Findings, Kind, register
from leanfront.core.audit.kinds.limits.layer_limits import bounds_of
from leanfront.core.audit.options import PATHS, AuditOptions
from leanfront.core.audit.runs import kinds_of, run
from leanfront.core.audit.versions import LEVELS, Configured, Dense, Version, of_candidate

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
    "StoppedError",
    "Version",
    "bounds_of",
    "kinds_of",
    "of_candidate",
    "register",
    "run",
]
