"""The kinds of audits; importing them fills the registry."""

from __future__ import annotations

from audit.kinds import calibration, classes, exemplars, robustness
from audit.kinds.kind import KINDS, Findings, Kind, register

__all__ = ["KINDS", "Findings", "Kind", "calibration", "classes", "exemplars", "register", "robustness"]
