"""The kinds of audits; importing them fills the registry."""

from __future__ import annotations

from leanfront.core.audit.kind import KINDS, Findings, Kind, register
from leanfront.core.audit.kinds.bounds import audit as bounds
from leanfront.core.audit.kinds.calibration import audit as calibration
from leanfront.core.audit.kinds.capacity import audit as capacity
from leanfront.core.audit.kinds.classes import audit as classes
from leanfront.core.audit.kinds.exemplars import audit as exemplars
from leanfront.core.audit.kinds.geometry import audit as geometry
from leanfront.core.audit.kinds.limits import audit as limits
from leanfront.core.audit.kinds.robustness import audit as robustness

__all__ = [
    "KINDS",
    "Findings",
    "Kind",
    "bounds",
    "calibration",
    "capacity",
    "classes",
    "exemplars",
    "geometry",
    "limits",
    "register",
    "robustness",
]
