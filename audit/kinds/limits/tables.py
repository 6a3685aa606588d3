"""Tables of the audit ``limits``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanfront.core.audit.document import Document
from leanfront.core.audit.table import Table, fixed

INDICATORS = ("accuracy", "ece", "generalisation_gap", "agreement", "flip_rate")


def tables(document: Document) -> list[Table]:
    """Make tables of thresholds by axis, under shift, of other indicators, and of each layer alone."""
    axes = {name: axis for name, axis in document["axes"].items() if "limits" in axis}
    return [
        _thresholds(document, axes),
        *([] if document["no_shift"] is not None else [_shift(document, axes)]),
        _indicators(axes),
        _layers(document["layers"]),
    ]


def _thresholds(document: Document, axes: Mapping[str, Any]) -> Table:
    rows = []
    for name, axis in axes.items():
        found = axis["limits"]
        rows.append(
            [
                name,
                found["verdict"],
                _breakpoint(found),
                _interval(found["potential"]),
                fixed(found["knee"]["value"], 2),
                fixed(found["curvature"]["value"], 2),
                f"{found['drop']:.3f}",
            ]
        )
    title = (
        f"Limits: {document['samples']} {document['split']} samples, criterion {document['criterion']}, method "
        f"{document['method']}"
    )
    told = [f"potential: largest ratio that loses at most {document['delta']:g}; intervals of 95%"]
    told += [f"{name}: {axis['reason']}" for name, axis in document["axes"].items() if "reason" in axis]
    told += [
        f"{each['version']} left out: {each['reason']}"
        for axis in document["axes"].values()
        for each in axis["failed"]
    ]
    header = ["axis", "verdict", "breakpoint", "potential", "knee", "curvature", "drop"]
    return Table(title, header, rows, "; ".join(told))


def _shift(document: Document, axes: Mapping[str, Any]) -> Table:
    names = document["corruptions"]
    rows = [
        [
            name,
            fixed(axis["shift"]["potential"]["clean"], 2),
            *(fixed(axis["shift"]["corruptions"][each]["potential"]["value"], 2) for each in names),
        ]
        for name, axis in axes.items()
    ]
    first = next(iter(axes.values()), None)
    if first is not None:
        accuracies = [first["shift"]["corruptions"][each]["accuracies"][0] for each in names]
        dense = [first["shift"]["clean"]["accuracies"][0], *accuracies]
        rows.append(["dense accuracy", *(f"{each:.3f}" for each in dense)])
    title = (
        f"Prune potential under shift: {document['shifted_samples']} images, severity {document['severity']}"
    )
    told = "losses are relative to the dense model's accuracy under the same corruption"
    return Table(title, ["axis", "clean", *names], rows, told)


def _indicators(axes: Mapping[str, Any]) -> Table:
    rows = [
        [
            name,
            *(
                fixed(axis["indicators"][each]["leaves"], 2) if each in axis["indicators"] else "-"
                for each in INDICATORS
            ),
            fixed(axis["limits"]["cliff"], 2),
        ]
        for name, axis in axes.items()
    ]
    header = ["axis", *(each.replace("_", " ") for each in INDICATORS), "cliff"]
    told = "cliff: the breakpoint, or else the prune potential"
    return Table(
        "Ratio at which a measure first differs from the dense model's by more than noise", header, rows, told
    )


def _layers(layers: Mapping[str, Any]) -> Table:
    subjects: dict[str, dict[str, str]] = {}
    for row in layers["limits"]:
        subjects.setdefault(row["subject"], {})[row["axis"]] = _alone(row)
    rows = [
        [name, *(own.get(axis, "-") for axis in ("sparsity", "bits", "channels"))]
        for name, own in subjects.items()
    ]
    told = [f"method {layers['method']}"]
    if layers["limits"]:
        delta = layers["limits"][0]["potential"]["delta"]
        told += [f"the allowed loss of {delta:g} is {delta * layers['samples']:.1f} samples"]
    told += [f"{len(layers['left_out'])} smaller ones are left out"] if layers["left_out"] else []
    told += [f"{each['subject']} left out: {each['reason']}" for each in layers["failed"]]
    title = f"Each layer compressed alone: prune potential, {layers['samples']} samples"
    return Table(title, ["layer or group", "sparsity", "bits", "channels removed"], rows, "; ".join(told))


def _alone(row: Mapping[str, Any]) -> str:
    value = row["potential"]["value"]
    if row["axis"] != "bits":
        return fixed(value, 2) if row["potential"]["reached"] else f">= {fixed(value, 2)}"
    within = [bits for bits, ratio in zip(row["values"], row["ratios"], strict=True) if ratio <= value + 1e-9]
    return f"{min(within):g}" if within else f"> {max(row['values']):g}"


def _breakpoint(found: Mapping[str, Any]) -> str:
    """Format the breakpoint, if there are one and a fall."""
    own = found["segmented"]
    return _interval(own) if own["exists"] and found["cliff"] is not None else "-"


def _interval(found: Mapping[str, Any]) -> str:
    return f"{fixed(found['value'], 2)} ({fixed(found['low'], 2)}-{fixed(found['high'], 2)})"
