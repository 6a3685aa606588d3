"""What the audit ``bounds`` is: its specification."""

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
        "What theory says must be paid, beside what is paid. A file cannot be coded below the entropy of its "
        "numbers; no scheme lies below R(D) of a source that fits the weights; the best model in the sense of "
        "description length is the one with the fewest bits of model and labels together. The mismatch bound holds "
        "on the average, to first order, for rounding alone."
    ),
    alone=True,
    run=Deferred("leanfront.core.audit.kinds.bounds.audit:audit_bounds"),
    tables=Deferred("leanfront.core.audit.kinds.bounds.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.bounds.figures:pieces"),
)
