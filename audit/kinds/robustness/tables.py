"""Tables of the audit ``robustness``."""

from __future__ import annotations

from leanfront.core.audit.document import Document, versions_of
from leanfront.core.audit.table import Table, fixed, samples_title


def tables(document: Document) -> list[Table]:
    """Make a table of corruption errors, flips and accuracy under attacks of the dense model and each version."""
    rows = []
    named = versions_of(document, dense=True)
    for name, each in named:
        suite, stability = each["c_like"], each["stability"]
        attacks = {(a["attack"]["name"], a["transferred"]): a["accuracy"] for a in each["attacks"]}
        low, high = suite["mce_low"], suite["mce_high"]
        spread = "" if low is None or high is None else f" ({low:.2f}-{high:.2f})"
        rows.append(
            [
                name,
                fixed(suite["clean_accuracy"]),
                f"{fixed(suite['mce'], 3)}{spread}",
                fixed(suite["relative_mce"], 3),
                fixed(stability["flips"][-1]["value"]),
                fixed(attacks[("fgsm", False)], 3),
                fixed(attacks[("pgd", False)], 3),
                fixed(attacks[("pgd", True)], 3),
                *([fixed(each["shift"]["accuracy"])] if "shift" in each else []),
            ]
        )
    header = ["version", "clean", "mCE", "relative", "flips", "FGSM", "PGD", "PGD from dense"]
    if "shift" in document:
        header.append(f"on {document['shift'].get('name', 'other data')}")
    # A candidate's own document has its results in that place, without a text.
    said = document["c_like"].get("text", "C-like corruptions")
    told = (
        f"{said}; mCE is relative to the dense model; flips under Gaussian noise of "
        f"{document['dense']['stability']['flips'][-1]['level']:g}"
    )
    masked = [
        name
        for name, each in named
        if any(a["masked"] > 0.5 and not a["transferred"] for a in each["attacks"])
    ]
    if masked:
        told += f"; the gradients of {', '.join(masked)} are masked by rounding: use the attack from dense"
    return [Table(samples_title("Robustness", document), header, rows, told)]
