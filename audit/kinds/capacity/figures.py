"""Figures of the audit ``capacity``."""

from __future__ import annotations

from leanfront.core.audit.description_figure import descriptions
from leanfront.core.audit.document import Document, versions_of
from leanfront.core.audit.drawing import blank, by_version, label, marks, reach
from leanfront.core.audit.pieces import Drawing, Piece


def pieces(document: Document) -> list[Piece]:
    """Draw parameters, effective dimension and description length by version."""
    named = versions_of(document, dense=True)
    found: list[Piece] = [_parameters(document), _dimension(document), descriptions(named)]
    return [*found, _priors(document), _spectrum(document)]


def _parameters(document: Document) -> Drawing:
    named = versions_of(document, dense=True)
    names, values = [name for name, _ in named], [each["nonzero_parameters"] for _, each in named]
    figure = blank(height=340, y="non-zero parameters")
    by_version(figure, names, values, "non-zero parameters")
    figure.update_yaxes(type="log")
    told = f"Non-zero parameters: {reach(values, 6)}."
    return Drawing("Non-zero parameters", figure, told, small=True)


def _dimension(document: Document) -> Drawing:
    named = versions_of(document, dense=True)
    own = [each["effective_dimension"] for _, each in named]
    values = [each["value"] for each in own]
    errors = [each.get("error") for each in own]
    figure = blank(height=340, y="effective dimension")
    error = {"array": errors, "arrayminus": errors}
    by_version(figure, [name for name, _ in named], values, "with standard error", error=error)
    figure.update_yaxes(rangemode="tozero")
    told = f"Effective dimension at alpha = {document['alpha']:.3g}: {reach(values)}."
    why = [f"{name}: {each['effective_dimension']['reason']}" for name, each in named if _missing(each)]
    return Drawing("Effective dimension", figure, " ".join([told, *why]), small=True)


def _missing(version: Document) -> bool:
    return version["effective_dimension"]["value"] is None


def _priors(document: Document) -> Drawing:
    """Draw the effective dimension against the width of the prior."""
    figure = blank(x="alpha over that of the prior", y="effective dimension")
    drawn: list[float | None] = []
    for place, (name, each) in enumerate(versions_of(document, dense=True)):
        if _missing(each):
            continue
        at = each["effective_dimension"]["at"]
        drawn += at.values()
        figure.add_scatter(
            x=[float(multiple) for multiple in at],
            y=list(at.values()),
            mode="lines+markers",
            name=label(name),
            line={"color": marks(place)["color"], "width": 1.5},
            marker={"symbol": marks(place)["symbol"], "size": 8},
        )
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    return Drawing("Effective dimension by prior", figure, f"Effective dimension: {reach(drawn)}.")


def _spectrum(document: Document) -> Drawing:
    figure = blank(x="number", y=f"eigenvalue ({label(document['curvature'])})")
    drawn: list[float | None] = []
    for place, (name, each) in enumerate(versions_of(document, dense=True)):
        if _missing(each):
            continue
        leading = each["effective_dimension"]["leading"]
        drawn += leading
        figure.add_scatter(
            x=list(range(1, len(leading) + 1)),
            y=leading,
            mode="lines+markers",
            name=label(name),
            line={"color": marks(place)["color"], "width": 1.5},
            marker={"symbol": marks(place)["symbol"], "size": 8},
        )
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(type="log")
    return Drawing("Largest eigenvalues of the curvature", figure, f"Largest eigenvalues: {reach(drawn)}.")
