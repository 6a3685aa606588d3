"""Specification of the audit ``limits``."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="limits",
    title="Limits",
    source="Liebenwein et al., Lost in pruning, MLSys 2021",
    reading=(
        "How far the model can be compressed, along each axis. The prune potential is the largest ratio that costs "
        "no more accuracy than the tolerance; the breakpoint is where the slope of the curve changes; the knee and "
        "the curvature show where it bends. A limit is abrupt if accuracy falls at least five times as fast after "
        "the breakpoint as before. Limits tend to come earlier under shift, and other measures tend to change "
        "before accuracy does."
    ),
    alone=True,
    run=Deferred("leanfront.core.audit.kinds.limits.audit:audit_limits"),
    tables=Deferred("leanfront.core.audit.kinds.limits.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.limits.figures:pieces"),
)
