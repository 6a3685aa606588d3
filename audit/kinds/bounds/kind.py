"""Specification of the audit ``bounds``."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="bounds",
    title="Bounds",
    source=(
        "Sakr et al., ICML 2017; Isik et al., AISTATS 2022; Grünwald, The minimum description length principle, 2007"
    ),
    reading=(
        "The bits that theory requires, beside the bits that are used. A file cannot be coded below the entropy of "
        "its numbers; no scheme lies below R(D) of a source that fits the weights; the best model by description "
        "length needs the fewest bits for model and labels together. The mismatch bound holds on average, to first "
        "order, and for rounding only."
    ),
    alone=True,
    run=Deferred("leanfront.core.audit.kinds.bounds.audit:audit_bounds"),
    tables=Deferred("leanfront.core.audit.kinds.bounds.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.bounds.figures:pieces"),
)
