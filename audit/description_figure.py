"""Figures of two-part description lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leanfront.core.audit.document import Document
from leanfront.core.audit.drawing import BLUE, GREY, VERMILION, bars, blank, label, reach
from leanfront.core.audit.pieces import Drawing


def descriptions(named: Sequence[tuple[str, Document]]) -> Drawing:
    """Draw the two-part description lengths of versions.

    Args:
        named: (name, findings with ``description``).
    """
    found = [each["description"]["total_bits"] for _, each in named]
    told = f"Bits of the model and of the labels given the model: {reach(found)} together."
    return Drawing("Description length by version", stacked(named), told, small=True)


def stacked(named: Sequence[tuple[str, Document]]) -> Any:
    """Draw bars of model and labels; the dotted line is the cost of the labels without a model."""
    figure = blank(height=340, y="bits")
    names = [name for name, _ in named]
    for key, title, colour in (
        ("model_bits", "model", BLUE),
        ("data_bits", "labels given the model", VERMILION),
    ):
        bars(figure, names, [each["description"][key] for _, each in named], title, colour)
    figure.update_layout(barmode="stack")
    if named:
        figure.add_scatter(
            x=[label(name) for name in names],
            y=[each["description"]["baseline_bits"] for _, each in named],
            mode="lines",
            name="labels without a model",
            line={"color": GREY, "dash": "dot"},
        )
    return figure
