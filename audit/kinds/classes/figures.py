"""Figures of the audit ``classes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leanfront.core.audit.document import Document, versions_of
from leanfront.core.audit.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    bars,
    blank,
    by_version,
    label,
    reach,
    versions_axis,
)
from leanfront.core.audit.pieces import Drawing, Piece

MOST_CLASSES = 60
"""Largest number of classes drawn for one version; of more, those that lost and gained most are drawn."""
STATUS = (
    ("lost more than the mean, p <= .05", VERMILION, ""),
    ("lost less or gained, p <= .05", BLUE, ""),
    ("not significant", GREY, ""),
    ("not testable", GREY, "/"),
)
"""Results of Welch's test for a class: name, colour and hatching."""


def pieces(document: Document) -> list[Piece]:
    """Draw the significant classes by version, the long tail, attributes, and the classes of each version."""
    return [
        _counts(document),
        *_long_tail(document),
        *_attributes(document),
        *(_classes(name, each) for name, each in versions_of(document)),
    ]


def _counts(document: Document) -> Drawing:
    names = [name for name, _ in versions_of(document)]
    versions = [each for _, each in versions_of(document)]
    figure = blank(y="classes")
    bars(
        figure,
        names,
        [each["by_p"]["n_down"] for each in versions],
        "lost more than the mean, p <= .05",
        VERMILION,
    )
    bars(figure, names, [each["by_p"]["n_up"] for each in versions], "lost less or gained, p <= .05", BLUE)
    figure.update_layout(barmode="stack")
    by_q = [each["by_q"]["n_significant"] for each in versions]
    by_version(figure, names, by_q, "q <= .05", colour=GREEN, symbol="diamond")
    by_chance = [each["expected_by_chance"] for each in versions]
    by_version(
        figure, names, by_chance, "expected by chance at p <= .05", colour=GREY, symbol="x", dash="dot"
    )
    counts = [each["by_p"]["n_significant"] for each in versions]
    return Drawing(
        "Significantly changed classes by version",
        figure,
        f"Classes whose recall changed significantly, of {versions[0]['tested']} tested: {reach(counts)}.",
    )


def _long_tail(document: Document) -> list[Piece]:
    found = [(name, each["long_tail"]["parts"]) for name, each in versions_of(document)]
    figure = blank(y="mean change of recall, points")
    for place, colour in zip(range(3), (VERMILION, ORANGE, BLUE), strict=True):
        parts = [parts[place] for _, parts in found]
        values = [part["absolute_points"] for part in parts]
        bars(figure, [name for name, _ in found], values, f"{parts[0]['name']} classes", colour)
    figure.update_layout(barmode="group")
    values = [part["absolute_points"] for _, parts in found for part in parts]
    return [
        Drawing(
            f"Rare and frequent classes (by {document['frequencies']} frequency)",
            figure,
            f"Mean change of recall of the rarest, middle and most frequent third: {reach(values)} points.",
        )
    ]


def _attributes(document: Document) -> list[Piece]:
    found: list[Piece] = []
    for attribute in versions_of(document)[0][1]["attributes"]:
        figure = blank(y="change of accuracy, points")
        rows = [(name, each["attributes"].get(attribute)) for name, each in versions_of(document)]
        values = []
        for place, (name, own) in enumerate(rows):
            groups = _drawn(own["groups"]) if own is not None else []
            values += [each["absolute_points"] for each in groups]
            bars(
                figure,
                [each["name"] for each in groups],
                [each["absolute_points"] for each in groups],
                label(name),
                (VERMILION, BLUE, GREEN, ORANGE, PURPLE, GREY)[place % 6],
            )
        alt = f"Change of accuracy of the samples of each value of {attribute}: {reach(values)} points."
        found.append(Drawing(f"Attribute {attribute}", figure, alt))
    return found


def _drawn(groups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return groups with samples, the worst first; of many, both ends."""
    ordered = sorted(
        (each for each in groups if each["absolute_points"] is not None), key=lambda g: g["absolute_points"]
    )
    half = MOST_CLASSES // 2
    return ordered if len(ordered) <= MOST_CLASSES else [*ordered[:half], *ordered[-half:]]


def _status(group: Mapping[str, Any]) -> str:
    if group["status"] == "significant":
        return (
            "lost less or gained, p <= .05"
            if group["direction"] == "up"
            else "lost more than the mean, p <= .05"
        )
    return "not significant" if group["status"] == "not" else "not testable"


def _classes(name: str, version: Mapping[str, Any]) -> Drawing:
    groups = _drawn(version["groups"])
    figure = blank(height=420, y="change of recall, points")
    names = [str(each["name"]) for each in groups]
    for status, colour, hatch in STATUS:
        own = [_status(each) == status for each in groups]
        if any(own):
            bars(
                figure,
                names,
                [each["absolute_points"] if mine else None for each, mine in zip(groups, own, strict=True)],
                status,
                colour,
                marker={"pattern": {"shape": hatch}},
            )
    figure.update_layout(barmode="overlay")
    figure.add_scatter(
        x=[label(each) for each in names],
        y=[each["normalised_points"] for each in groups],
        mode="markers",
        name="normalised: less the mean change",
        marker={"color": GREEN, "size": 8, "symbol": "diamond-open", "line": {"width": 2}},
    )
    versions_axis(figure, names)
    left = len(version["groups"]) - len(groups)
    more = f", the {len(groups)} that changed most of {len(version['groups'])}" if left else ""
    changes = reach(each["absolute_points"] for each in groups)
    return Drawing(
        f"Change of each class's recall{more}",
        figure,
        f"Classes of {name} sorted by the change of their recall: {changes} points.",
        fold=name,
    )
