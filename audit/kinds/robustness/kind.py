"""What the audit ``robustness`` is: its specification."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="robustness",
    title="Robustness",
    source="Hendrycks and Dietterich, Benchmarking neural network robustness, ICLR 2019",
    reading=(
        "What clean accuracy does not show. The corruption error (CE) divides a version's errors by those of the "
        "dense model, so that 1 is as robust as dense and more is worse; mCE is its mean over corruptions. Flips are "
        "answers that noise changes. Where rounding hides gradients, go by the attack made on the dense model."
    ),
    metrics=("mce", "flip_rate"),
    check=Deferred("leanfront.core.audit.kinds.robustness.audit:check_robustness"),
    needs=("pixels",),
    run=Deferred("leanfront.core.audit.kinds.robustness.audit:audit_robustness"),
    tables=Deferred("leanfront.core.audit.kinds.robustness.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.robustness.figures:pieces"),
)
