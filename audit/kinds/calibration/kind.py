"""Specification of the audit ``calibration``."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="calibration",
    title="Calibration",
    source="Guo et al., On calibration of modern neural networks, ICML 2017",
    reading=(
        "Whether confidence matches accuracy: ECE is their mean difference over 15 bins of confidence, 0 for a "
        "perfectly calibrated model. A single temperature, fitted on other samples if there are any, often corrects "
        "it. In a reliability diagram, points below the diagonal are overconfident."
    ),
    metrics=("ece",),
    run=Deferred("leanfront.core.audit.kinds.calibration.audit:audit_calibration"),
    tables=Deferred("leanfront.core.audit.kinds.calibration.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.calibration.figures:pieces"),
)
