"""Figures of exemplars (PIE)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanfront.core.audit.document import Document, versions_of
from leanfront.core.audit.drawing import (
    BLUE,
    GREY,
    ORANGE,
    VERMILION,
    bars,
    blank,
    by_version,
    label,
    picture,
    reach,
)
from leanfront.core.audit.pieces import Card, Drawing, Gallery, Piece

SUBSETS = {"all": "all samples", "exemplars": "PIE", "others": "not PIE"}


def pieces(document: Document) -> list[Piece]:
    """Draw the PIE rate with its noise floor, the accuracy on exemplars and other samples, and the galleries."""
    found: list[Piece] = [_rates(document)]
    found += [_subsets(name, each) for name, each in versions_of(document)]
    for name, each in versions_of(document):
        if each.get("gallery"):
            found.append(_gallery(name, each))
    return found


def _rates(document: Document) -> Drawing:
    names = [name for name, _ in versions_of(document)]
    versions = [each for _, each in versions_of(document)]
    figure = blank(y="PIE rate, %")
    floor = next((each["floor"] for each in versions if each["floor"] is not None), None)
    said = "no noise floor: it needs two dense models"
    if floor is not None:
        for end, fill in (("rate_low", None), ("rate_high", "tonexty")):
            figure.add_scatter(
                x=[label(name) for name in names],
                y=[floor[end]] * len(names),
                mode="lines",
                fill=fill,
                fillcolor="rgba(154, 165, 177, 0.35)",
                line={"color": GREY, "width": 1},
                name="noise floor: between halves of the dense population",
                showlegend=fill is not None,
            )
        halves = [None if each["floor"] is None else each["floor"]["matched_rate"] for each in versions]
        by_version(
            figure, names, halves, "PIE of halves, to compare with the floor", colour=ORANGE, symbol="square"
        )
        said = (
            f"the noise floor is {floor['rate']:.2f}% ({floor['rate_low']:.2f} to {floor['rate_high']:.2f})"
        )
    rates = [each["rate"] for each in versions]
    by_version(figure, names, rates, "PIE of the whole populations", colour=BLUE)
    figure.update_yaxes(rangemode="tozero")
    return Drawing("PIE rate by version", figure, f"PIE rate of each version: {reach(rates)}%; {said}.")


def _subsets(name: str, version: Mapping[str, Any]) -> Drawing:
    subsets = version["subsets"]
    figure = blank(height=300, y="top-1")
    titles = [f"{title} ({subsets[key]['count']})" for key, title in SUBSETS.items()]
    for key, said, colour in (("dense_top1", "dense", BLUE), ("top1", "compressed", VERMILION)):
        bars(figure, titles, [subsets[each][key] for each in SUBSETS], said, colour)
    figure.update_layout(barmode="group")
    figure.update_xaxes(tickangle=0)
    figure.update_yaxes(range=[0, 1])
    pie = subsets["exemplars"]
    told = "no exemplars"
    if pie["count"]:
        told = f"on PIE the dense models are right in {pie['dense_top1']:.1%}, the compressed in {pie['top1']:.1%}"
    return Drawing(f"Accuracy on PIE and not: {name}", figure, f"{name}: {told}.", small=True)


def _gallery(name: str, version: Mapping[str, Any]) -> Gallery:
    shown = f"{len(version['gallery'])} of {version['count']} exemplars, the largest differences first"
    return Gallery(f"Gallery: {shown}", [_card(entry) for entry in version["gallery"]], fold=name)


def _card(entry: Mapping[str, Any]) -> Card:
    said = [
        ("true", str(entry["truth_name"])),
        ("dense", f"{entry['dense_name']} ({entry['dense_share']:.0%})"),
        ("compressed", f"{entry['compressed_name']} ({entry['compressed_share']:.0%})"),
    ]
    alt = f"sample {entry['index']}: " + ", ".join(f"{key} {value}" for key, value in said)
    return Card(picture(entry.get("image")), alt, [("sample", f"{entry['index']:d}"), *said])
