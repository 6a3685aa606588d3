"""Tables of the audit ``calibration``."""

from __future__ import annotations

from leanfront.core.audit.document import Document, versions_of
from leanfront.core.audit.table import Table, fixed, samples_title


def tables(document: Document) -> list[Table]:
    """Make a table of calibration errors before and after temperature scaling, the dense model first."""
    rows = []
    for name, each in versions_of(document, dense=True):
        temperature = each["temperature"]
        rows.append(
            [
                name,
                fixed(each["ece"]),
                fixed(each["nll"]),
                fixed(each["brier"]),
                "-" if temperature is None else fixed(temperature["value"], 3),
                fixed(each["ece_before"]),
                fixed(each["ece_after"]),
            ]
        )
    header = ["version", "ECE", "NLL", "Brier", "temperature", "ECE before it", "after it"]
    return [Table(samples_title("Calibration", document), header, rows)]
