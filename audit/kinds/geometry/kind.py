"""What the audit ``geometry`` is: its specification."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="geometry",
    title="Geometry of pruning",
    source="Understanding robustness lottery: a geometric comparison of pruning, arXiv 2206.07918",
    reading=(
        "How criteria of pruning change the space before the last layer. Of each sample: the angle to the vector of "
        "its class (smaller is better), the norm (which drives confidence) and the margin to the nearest border "
        "(below 0 where the answer is wrong). Models that are close on the map see the samples alike. A robust "
        "sample keeps its margin under every pruned model, a fragile one loses it under half of them."
    ),
    shared=("arrays", "images", "similarity"),
    alone=True,
    run=Deferred("leanfront.core.audit.kinds.geometry.audit:audit_geometry"),
    tables=Deferred("leanfront.core.audit.kinds.geometry.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.geometry.figures:pieces"),
)
