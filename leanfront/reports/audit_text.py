"""What people read of audits: tables of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leanfront.core.audit import KINDS
from leanfront.core.audit.kinds.bounds.tables import bounds_tables, capacity_tables
from leanfront.core.audit.kinds.geometry.tables import geometry_tables
from leanfront.core.audit.kinds.limits.tables import limits_tables
from leanfront.core.audit.table import Table
from leanfront.core.storage import AuditRecord


def audit_text(record: AuditRecord) -> str:
    """An audit as titles and tables, with what to keep in mind."""
    return "\n\n".join(each.text() for each in tables_of(record.kind, with_versions(record.document)))


def with_versions(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A candidate's own document as one of a search: what was found of its version is spread in it."""
    return document if "versions" in document else {**document, "versions": [document]}


def tables_of(kind: str, document: Mapping[str, Any]) -> list[Table]:
    """The tables of an audit's document; where there are none of its kind, the plain values of its versions."""
    return (
        TABLES[kind](document) if kind in TABLES and is_whole(kind, document) else [_values(kind, document)]
    )


def is_whole(kind: str, document: Mapping[str, Any]) -> bool:
    """Whether a document has what candidates' own ones leave to that of the search."""
    return kind not in KINDS or all(key in document for key in KINDS[kind].shared)


def _values(kind: str, document: Mapping[str, Any]) -> Table:
    def shown(value: object) -> str:
        return f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)

    def plain(entry: Mapping[str, Any]) -> dict[str, str]:
        return {key: shown(value) for key, value in entry.items() if not isinstance(value, Mapping | list)}

    versions = [plain(each) for each in document.get("versions", ())]
    if not versions:
        return Table(kind, ["value", "is"], [[key, value] for key, value in plain(document).items()])
    keys = [key for key in dict.fromkeys(key for each in versions for key in each) if key != "version"]
    rows = [[each.get("version", "-"), *(each.get(key, "-") for key in keys)] for each in versions]
    return Table(kind, ["version", *keys], rows)


def _share(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _head(title: str, document: Mapping[str, Any]) -> str:
    said = f"{title}: {document['samples']} {document['split']} samples"
    population = document.get("population")
    return said if population is None else f"{said}, {population['text']}"


def _classes(document: Mapping[str, Any]) -> list[Table]:
    rows = []
    for each in document["versions"]:
        groups = [group for group in each["groups"] if group["normalised_points"] is not None]
        worst = min(groups, key=lambda group: group["absolute_points"])
        rows.append(
            [
                each["version"],
                _share(each["top1"]),
                f"{each['by_p']['n_significant']} ({each['by_p']['n_up']} up, {each['by_p']['n_down']} down)",
                str(each["by_q"]["n_significant"]),
                f"{worst['name']} {_signed(worst['absolute_points'])}",
                str(each["undetermined"] + each["degenerate"]),
            ]
        )
    first = document["versions"][0]
    header = ["version", "top-1", "classes p <= .05", "q <= .05", "worst class, points", "not testable"]
    told = (
        f"dense top-1 {_share(first['dense_top1'])}; {first['tested']} classes tested; with {first['members']} "
        f"models an effect of {first['detectable_effect']:.2f} standard deviations is found in 80% of cases"
    )
    return [Table(_head("Class impact", document), header, rows, told)]


def _exemplars(document: Mapping[str, Any]) -> list[Table]:
    rows = []
    for each in document["versions"]:
        floor, subsets = each["floor"], each["subsets"]
        rows.append(
            [
                each["version"],
                f"{each['rate']:.2f}%",
                "-" if floor is None else f"{floor['matched_rate']:.2f}%",
                "-" if floor is None else f"{floor['rate']:.2f}%",
                _share(each["score"]),
                _share(subsets["all"]["dense_top1"]),
                _share(subsets["exemplars"]["dense_top1"]),
                _share(subsets["exemplars"]["top1"]),
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
    return [Table(_head("Exemplars (PIE)", document), header, rows, told)]


def _calibration(document: Mapping[str, Any]) -> list[Table]:
    rows = []
    for name, each in [("dense", document["dense"]), *((v["version"], v) for v in document["versions"])]:
        temperature = each["temperature"]
        rows.append(
            [
                name,
                _share(each["ece"]),
                _share(each["nll"]),
                _share(each["brier"]),
                "-" if temperature is None else f"{temperature['value']:.3f}",
                _share(each["ece_before"]),
                _share(each["ece_after"]),
            ]
        )
    header = ["version", "ECE", "NLL", "Brier", "temperature", "ECE before it", "after it"]
    return [Table(_head("Calibration", document), header, rows)]


def _robustness(document: Mapping[str, Any]) -> list[Table]:
    rows = []
    named = [("dense", document["dense"]), *((v["version"], v) for v in document["versions"])]
    for name, each in named:
        suite, stability = each["c_like"], each["stability"]
        attacks = {(a["attack"]["name"], a["transferred"]): a["accuracy"] for a in each["attacks"]}
        low, high = suite["mce_low"], suite["mce_high"]
        spread = "" if low is None or high is None else f" ({low:.2f}-{high:.2f})"
        rows.append(
            [
                name,
                _share(suite["clean_accuracy"]),
                f"{_share(suite['mce'], 3)}{spread}",
                _share(suite["relative_mce"], 3),
                _share(stability["flips"][-1]["value"]),
                _share(attacks[("fgsm", False)], 3),
                _share(attacks[("pgd", False)], 3),
                _share(attacks[("pgd", True)], 3),
                *([_share(each["shift"]["accuracy"])] if "shift" in each else []),
            ]
        )
    header = ["version", "clean", "mCE", "relative", "flips", "FGSM", "PGD", "PGD from dense"]
    if "shift" in document:
        header.append(f"on {document['shift'].get('name', 'other data')}")
    # A candidate's own document says how it fared under them in that place.
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
        told += f"; the gradients of {', '.join(masked)} are masked by rounding: go by the attack from dense"
    return [Table(_head("Robustness", document), header, rows, told)]


TABLES: dict[str, Callable[[Mapping[str, Any]], list[Table]]] = {
    "classes": _classes,
    "exemplars": _exemplars,
    "calibration": _calibration,
    "robustness": _robustness,
    "limits": limits_tables,
    "geometry": geometry_tables,
    "bounds": bounds_tables,
    "capacity": capacity_tables,
}
"""Kind of audit -> the tables of its document; the terminal and the report show the same."""
