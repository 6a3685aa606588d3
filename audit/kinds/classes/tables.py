"""Tables of the audit ``classes``."""

from __future__ import annotations

from leanfront.core.audit.document import Document
from leanfront.core.audit.table import Table, fixed, samples_title


def tables(document: Document) -> list[Table]:
    """Make a table of the accuracy and the changed classes of each version."""
    rows = []
    for each in document["versions"]:
        groups = [group for group in each["groups"] if group["normalised_points"] is not None]
        worst = min(groups, key=lambda group: group["absolute_points"])
        rows.append(
            [
                each["version"],
                fixed(each["top1"]),
                f"{each['by_p']['n_significant']} ({each['by_p']['n_up']} up, {each['by_p']['n_down']} down)",
                str(each["by_q"]["n_significant"]),
                f"{worst['name']} {_signed(worst['absolute_points'])}",
                str(each["undetermined"] + each["degenerate"]),
            ]
        )
    first = document["versions"][0]
    header = ["version", "top-1", "classes p <= .05", "q <= .05", "worst class, points", "not testable"]
    told = (
        f"dense top-1 {fixed(first['dense_top1'])}; {first['tested']} classes tested; with {first['members']} "
        f"models, an effect of {first['detectable_effect']:.2f} standard deviations is found in 80% of cases"
    )
    return [Table(samples_title("Class impact", document), header, rows, told)]


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
