"""The kinds of audits; importing them fills the registry."""

from __future__ import annotations

from audit.kinds import bounds, calibration, capacity, classes, exemplars, geometry, limits, robustness
from audit.kinds.kind import KINDS, Findings, Kind, register

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
