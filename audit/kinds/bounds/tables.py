"""Tables of the audits ``bounds`` and ``capacity``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanfront.core.audit.table import Table

TURNS = 3
"""Widths that are told to be the shortest, the one without samples among them."""


def bounds_tables(document: Mapping[str, Any]) -> list[Table]:
    """What versions and uniform widths cost against their bounds, and how often rounding changes an answer."""
    tables = [_versions(document)] if document["versions"] else []
    return [*tables, _widths(document), _mismatch(document)]


def capacity_tables(document: Mapping[str, Any]) -> list[Table]:
    """Parameters, effective dimension and description length, the dense model first."""
    rows = []
    for each in ({**document["dense"], "version": "dense"}, *document["versions"]):
        dimension, said = each["effective_dimension"], each["description"]
        known = dimension["value"] is not None
        rows.append(
            [
                each["version"],
                str(each["nonzero_parameters"]),
                _dimension(dimension),
                *(_number(dimension["at"][str(width)]) if known else "-" for width in ("0.1", "10")),
                _kilobits(said["model_bits"]),
                _kilobits(said["data_bits"]),
                _ratio(said["ratio"]),
                f"{each['training_top1']:.4f}",
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
        for each in (document["dense"], *document["versions"])
        if each["effective_dimension"]["value"] is None
    }
    told = (
        f"N_eff: eigenvalues of the Gauss-Newton matrix on {document['samples']} {document['split']} samples above "
        f"alpha = {document['alpha']:.3g}, {document['alpha_text']}; it grows with the samples: compare "
        f"it among models on the same ones; {document['training']['text']}"
    )
    return [Table("Capacity", header, rows, "; ".join([told, *sorted(reasons)]))]


def _versions(document: Mapping[str, Any]) -> Table:
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
                _number(each["sqnr"]),
                f"{each['below']} of {each['points']}",
                _ratio(each["description"]["ratio"]),
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
        f"Bounds: {document['samples']} {document['split']} samples",
        header,
        rows,
        "; ".join([told, *(f"no mismatch bound: {reason}" for reason in reasons)]),
    )


def _widths(document: Mapping[str, Any]) -> Table:
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
                    _number(each["sqnr"]),
                    f"{each['below']} of {each['points']}",
                    _kilobits(said["model_bits"]),
                    _kilobits(said["data_bits"]),
                    _ratio(said["ratio"]),
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


def _mismatch(document: Mapping[str, Any]) -> Table:
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
        f"weights and activations rounded alike; the bound is a mean over {found['samples']} samples and holds on "
        "averages, to first order"
    )
    return Table(
        "Answers that rounding changes",
        ["width", "measured", f"on the bound's {found['samples']}", "bound"],
        rows,
        told,
    )


def _dimension(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "-"
    return f"{found['value']:.4g}" + ("" if found["exact"] else f" +- {found['error']:.2g}")


def _share(bound: Mapping[str, Any] | None) -> str:
    return "-" if bound is None else f"{bound['value']:.4f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _ratio(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _kilobits(bits: float) -> str:
    return f"{bits / 1000:.1f}"
