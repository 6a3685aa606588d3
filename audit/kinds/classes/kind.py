"""What the audit ``classes`` is: its specification."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="classes",
    title="Class impact",
    source="Hooker et al., What do compressed deep neural networks forget?, arXiv 1911.05248",
    reading=(
        "Which classes paid: the change of each class's recall between the dense and the compressed models, in "
        "percentage points, and whether Welch's test finds it larger than what models of one population differ by. "
        "Normalised changes are less the change of overall accuracy: a class far from 0 there changed otherwise than "
        "the model did."
    ),
    metrics=("worst_class_drop",),
    run=Deferred("leanfront.core.audit.kinds.classes.audit:audit_classes"),
    tables=Deferred("leanfront.core.audit.kinds.classes.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.classes.figures:pieces"),
)
