"""Tables of the audit ``exemplars``."""

from __future__ import annotations

from leanfront.core.audit.document import Document
from leanfront.core.audit.table import Table, fixed, samples_title


def tables(document: Document) -> list[Table]:
    """Make a table of the PIE rate, its noise floor and the accuracy on exemplars of each version."""
    rows = []
    for each in document["versions"]:
        floor, subsets = each["floor"], each["subsets"]
        rows.append(
            [
                each["version"],
                f"{each['rate']:.2f}%",
                "-" if floor is None else f"{floor['matched_rate']:.2f}%",
                "-" if floor is None else f"{floor['rate']:.2f}%",
                fixed(each["score"]),
                fixed(subsets["all"]["dense_top1"]),
                fixed(subsets["exemplars"]["dense_top1"]),
                fixed(subsets["exemplars"]["top1"]),
            ]
        )
    header = [
        "version",
        "PIE",
        "PIE, halves",
        "noise floor",
        "score",
        "dense top-1",
        "on PIE",
        "version on PIE",
    ]
    told = "the noise floor is the PIE rate between halves of the dense population: compare it with 'PIE, halves'"
    return [Table(samples_title("Exemplars (PIE)", document), header, rows, told)]
