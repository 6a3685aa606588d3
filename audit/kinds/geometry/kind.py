"""Specification of the audit ``geometry``."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="geometry",
    title="Geometry of pruning",
    source="Understanding robustness lottery: a geometric comparison of pruning, arXiv 2206.07918",
    reading=(
        "How pruning criteria change the feature space before the last layer. For each sample: the angle to the "
        "vector of its class (smaller is better), the norm (which drives confidence) and the margin to the nearest "
        "border (below 0 if the answer is wrong). Models close together on the map represent the samples alike. A "
        "robust sample keeps its margin under every pruned model; a fragile one loses it under at least half of them."
    ),
    shared=("arrays", "images", "similarity"),
    alone=True,
    run=Deferred("leanfront.core.audit.kinds.geometry.audit:audit_geometry"),
    tables=Deferred("leanfront.core.audit.kinds.geometry.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.geometry.figures:pieces"),
)
