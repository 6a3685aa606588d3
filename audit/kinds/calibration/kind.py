"""What the audit ``calibration`` is: its specification."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="calibration",
    title="Calibration",
    source="Guo et al., On calibration of modern neural networks, ICML 2017",
    reading=(
        "Whether confidence is accuracy: ECE is their mean distance over 15 bins of confidence, 0 where a model can "
        "be taken at its word. One temperature, fitted on other samples where there are any, often repairs it. In a "
        "reliability diagram points under the diagonal are too confident."
    ),
    metrics=("ece",),
    run=Deferred("leanfront.core.audit.kinds.calibration.audit:audit_calibration"),
    tables=Deferred("leanfront.core.audit.kinds.calibration.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.calibration.figures:pieces"),
)
