"""Specification of the audit ``classes``."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="classes",
    title="Class impact",
    source="Hooker et al., What do compressed deep neural networks forget?, arXiv 1911.05248",
    reading=(
        "Which classes lost accuracy: the change of each class's recall between the dense and the compressed models, "
        "in percentage points, and whether Welch's test finds it larger than the differences within a population. "
        "Normalised changes subtract the change of overall accuracy: a class far from 0 changed differently from the "
        "model as a whole."
    ),
    metrics=("worst_class_drop",),
    run=Deferred("leanfront.core.audit.kinds.classes.audit:audit_classes"),
    tables=Deferred("leanfront.core.audit.kinds.classes.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.classes.figures:pieces"),
)
