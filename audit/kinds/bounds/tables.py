"""Tables of the audit ``bounds``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanfront.core.audit.document import Document
from leanfront.core.audit.table import Table, kilobits, multiple, samples_title, significant

TURNS = 3
"""Number of widths that are listed as the shortest description, including the one without samples."""


def tables(document: Document) -> list[Table]:
    """Make tables of the sizes of versions and uniform widths beside their bounds, and of changed answers."""
    versions = [_versions(document)] if document["versions"] else []
    return [*versions, _widths(document), _mismatch(document)]


def _versions(document: Document) -> Table:
    rows = []
    for each in document["versions"]:
        mismatch = each["mismatch"]
        rows.append(
            [
                each["version"],
                str(each["memory_bytes"]),
                f"{each['bound_bytes']:.0f}",
                str(each["coded_bytes"]),
                str(each["lzma_bytes"]),
                significant(each["sqnr"]),
                f"{each['below']} of {each['points']}",
                multiple(each["description"]["ratio"]),
                f"{mismatch['measured']:.4f}",
                _share(mismatch["bound"]),
            ]
        )
    header = [
        "version",
        "bytes",
        "entropy bound",
        "coded",
        "LZMA",
        "SQNR, dB",
        "layers below R(D)",
        "of baseline",
        "mismatch",
        "bound",
    ]
    reasons = dict.fromkeys(
        each["mismatch"]["why_none"] for each in document["versions"] if each["mismatch"]["why_none"]
    )
    told = "coded: a real order-0 coder; of baseline: model and training labels in bits over the labels alone"
    return Table(
        samples_title("Bounds", document),
        header,
        rows,
        "; ".join([told, *(f"no mismatch bound: {reason}" for reason in reasons)]),
    )


def _widths(document: Document) -> Table:
    rows, least = [], []
    for method, found in document["uniform"].items():
        for each in found["widths"]:
            name = f"{each['bits']} bits, {method}"
            if "reason" in each:
                rows.append([name, *["-"] * 9])
                continue
            said = each["description"]
            rows.append(
                [
                    name,
                    str(each["memory_bytes"]),
                    f"{each['bound_bytes']:.0f}",
                    str(each["coded_bytes"]),
                    significant(each["sqnr"]),
                    f"{each['below']} of {each['points']}",
                    kilobits(said["model_bits"]),
                    kilobits(said["data_bits"]),
                    multiple(said["ratio"]),
                    f"{each['training_top1']:.4f}",
                ]
            )
        if found["shortest"] is not None:
            said = f"the shortest description by {method} has {found['shortest']} bits"
            later = [f"{turn['bits']} from {turn['samples']:.3g} samples" for turn in found["turns"][1:TURNS]]
            least.append(" (".join([said, ", ".join(later) + ")"]) if later else said)
    header = [
        "uniform width",
        "bytes",
        "entropy bound",
        "coded",
        "SQNR, dB",
        "layers below R(D)",
        "model, kbit",
        "labels, kbit",
        "of baseline",
        "training top-1",
    ]
    return Table(
        "Description length over uniform widths",
        header,
        rows,
        "; ".join([document["training"]["text"], *least]),
    )


def _mismatch(document: Document) -> Table:
    found = document["uniform_mismatch"]
    rows = [
        [
            f"{each['bits']} bits",
            f"{each['measured']:.4f}",
            f"{each['measured_there']:.4f}",
            _share(each["bound"]),
        ]
        if "reason" not in each
        else [f"{each['bits']} bits", "-", "-", "-"]
        for each in found["widths"]
    ]
    told = (
        f"weights and activations have the same width; the bound is a mean over {found['samples']} samples, which "
        "holds on average, to first order"
    )
    return Table(
        "Answers that rounding changes",
        ["width", "measured", f"on the bound's {found['samples']}", "bound"],
        rows,
        told,
    )


def _share(bound: Mapping[str, Any] | None) -> str:
    return "-" if bound is None else f"{bound['value']:.4f}"
