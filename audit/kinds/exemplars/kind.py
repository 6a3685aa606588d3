"""Specification of the audit ``exemplars``."""

from __future__ import annotations

from leanfront.core.audit.kind import Kind
from leanfront.deferred import Deferred

KIND = Kind(
    name="exemplars",
    title="Compression-identified exemplars (PIE)",
    source="Hooker et al., What do compressed deep neural networks forget?, arXiv 1911.05248",
    reading=(
        "Exemplars (PIE) are the samples whose most frequent answer differs between the dense and the compressed "
        "models. Two halves of one dense population differ, too: only a rate above that noise floor is due to "
        "compression. Exemplars tend to be hard, mislabelled or ambiguous samples."
    ),
    metrics=("pie_rate",),
    heavy=("gallery",),
    run=Deferred("leanfront.core.audit.kinds.exemplars.audit:audit_exemplars"),
    tables=Deferred("leanfront.core.audit.kinds.exemplars.tables:tables"),
    figures=Deferred("leanfront.core.audit.kinds.exemplars.figures:pieces"),
)
