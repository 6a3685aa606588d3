"""Specification of the audit ``capacity``."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="capacity",
    title="Capacity",
    source="Maddox et al., Rethinking parameter counting in deep models, 2020",
    reading=(
        "How much a model can hold and how much of it is used: its non-zero parameters, the directions that the "
        "training data determine (the effective dimension, sum of lambda / (lambda + alpha) over the eigenvalues of "
        "the curvature), and the bits that describe it together with the labels."
    ),
    alone=True,
    run=Deferred("leanfront.core.audit.kinds.capacity.audit:audit_capacity"),
    tables=Deferred("leanfront.core.audit.kinds.capacity.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.capacity.figures:pieces"),
)
