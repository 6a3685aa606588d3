"""Tables of the audit ``capacity``."""

from __future__ import annotations

from leanfront.core.audit.document import Document, versions_of
from leanfront.core.audit.table import Table, fixed, kilobits, multiple, significant


def tables(document: Document) -> list[Table]:
    """Make a table of parameters, effective dimension and description length, the dense model first."""
    rows = []
    named = versions_of(document, dense=True)
    for name, each in named:
        dimension, said = each["effective_dimension"], each["description"]
        known = dimension["value"] is not None
        rows.append(
            [
                name,
                str(each["nonzero_parameters"]),
                _dimension(dimension),
                *(significant(dimension["at"][str(width)]) if known else "-" for width in ("0.1", "10")),
                kilobits(said["model_bits"]),
                kilobits(said["data_bits"]),
                multiple(said["ratio"]),
                fixed(each["training_top1"]),
            ]
        )
    header = [
        "version",
        "non-zero",
        "N_eff",
        "at alpha / 10",
        "at 10 alpha",
        "model, kbit",
        "labels, kbit",
        "of baseline",
        "training top-1",
    ]
    reasons = {
        each["effective_dimension"]["reason"]
        for _, each in named
        if each["effective_dimension"]["value"] is None
    }
    told = (
        f"N_eff: eigenvalues of the Gauss-Newton matrix on {document['samples']} {document['split']} samples above "
        f"alpha = {document['alpha']:.3g}, {document['alpha_text']}; it grows with the number of samples, so compare "
        f"it only on the same samples; {document['training']['text']}"
    )
    return [Table("Capacity", header, rows, "; ".join([told, *sorted(reasons)]))]


def _dimension(found: Document) -> str:
    if found["value"] is None:
        return "-"
    return f"{found['value']:.4g}" + ("" if found["exact"] else f" +- {found['error']:.2g}")
