"""Specification of the audit ``robustness``."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="robustness",
    title="Robustness",
    source="Hendrycks and Dietterich, Benchmarking neural network robustness, ICLR 2019",
    reading=(
        "Accuracy under corruptions, noise and attacks. The corruption error (CE) divides the errors of a version by "
        "those of the dense model: 1 is as robust as the dense model, more is worse; mCE is its mean over "
        "corruptions. Flips are answers that noise changes. If rounding hides gradients, use the attack made on the "
        "dense model."
    ),
    metrics=("mce", "flip_rate"),
    check=Deferred("leanfront.core.audit.kinds.robustness.audit:check_robustness"),
    needs=("pixels",),
    run=Deferred("leanfront.core.audit.kinds.robustness.audit:audit_robustness"),
    tables=Deferred("leanfront.core.audit.kinds.robustness.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.robustness.figures:pieces"),
)
