"""Figures of the audit ``calibration``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanfront.core.audit.document import DENSE, Document, versions_of
from leanfront.core.audit.drawing import BLUE, GREY, VERMILION, blank, by_version, reach
from leanfront.core.audit.pieces import Drawing, Piece

SCORES = {"ece": "ECE", "nll": "NLL, nat", "brier": "Brier score"}


def pieces(document: Document) -> list[Piece]:
    """Draw ECE, NLL and Brier score by version, and reliability diagrams before and after temperature scaling."""
    found: list[Piece] = [_score(document, key, title) for key, title in SCORES.items()]
    return found + [_reliability(name, each) for name, each in versions_of(document, dense=True)]


def _score(document: Document, key: str, title: str) -> Drawing:
    named = versions_of(document, dense=True)
    names = [name for name, _ in named]
    figure = blank(height=320, y=title)
    values = [each[key] for _, each in named]
    by_version(figure, names, values, "unscaled")
    if f"{key}_after" in document[DENSE]:
        after = [each[f"{key}_after"] for _, each in named]
        by_version(figure, names, after, "temperature-scaled", colour=VERMILION, symbol="diamond")
    figure.update_yaxes(rangemode="tozero")
    return Drawing(title, figure, f"{title} of each version: {reach(values)}.", small=True)


def _reliability(name: str, version: Mapping[str, Any]) -> Drawing:
    figure = blank(height=320, x="confidence", y="accuracy")
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="perfect calibration", line={"color": GREY, "dash": "dot"}
    )
    drawn = [("unscaled", version["reliability"], BLUE, "circle")]
    if version["reliability_after"] is not None:
        drawn.append(("temperature-scaled", version["reliability_after"], VERMILION, "diamond"))
    for said, diagram, colour, symbol in drawn:
        bins = [each for each in diagram["bins"] if each["count"]]
        most = max((each["count"] for each in bins), default=1)
        figure.add_scatter(
            x=[each["confidence"] for each in bins],
            y=[each["accuracy"] for each in bins],
            mode="lines+markers",
            name=said,
            line={"color": colour, "width": 1.5},
            # The area is proportional to the number of samples.
            marker={"symbol": symbol, "size": [6 + 12 * (each["count"] / most) ** 0.5 for each in bins]},
            cliponaxis=False,
            customdata=[each["count"] for each in bins],
            hovertemplate="confidence %{x:.3f}, accuracy %{y:.3f}, %{customdata} samples",
        )
    figure.update_xaxes(range=[0, 1.02])
    figure.update_yaxes(range=[0, 1.02])
    alt = f"Accuracy against confidence of {name}: ECE {version['ece']:.4f}."
    if version["ece_after"] is not None:
        alt += f" On {version['judged']} samples {version['ece_before']:.4f} before and {version['ece_after']:.4f} "
        alt += f"after a temperature of {version['temperature']['value']:.3f}."
    return Drawing(f"Reliability: {name}", figure, alt, small=True)
