"""Parts shared by all drawings of audits: colours, symbols, axes, bars, heat maps, and their texts."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#9aa5b1"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY)
"""The palette of Okabe and Ito, distinct under any colour vision, and a grey; visible on white and on black."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
"""Used in addition to colours, so that nothing depends on colour alone."""
SEQUENTIAL = "Cividis"
DIVERGING = [[0.0, VERMILION], [0.5, "#f7f7f7"], [1.0, BLUE]]
"""Losses are vermilion, gains are blue."""
IMAGE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")
"""The only image addresses that are shown: nothing is fetched."""


def marks(place: int) -> dict[str, str]:
    """Return the colour and symbol of the place-th of several items; both repeat together only after 49."""
    turn, colour = divmod(place, len(COLOURS))
    return {"color": COLOURS[colour], "symbol": SYMBOLS[(colour + turn) % len(SYMBOLS)]}


def label(text: object) -> str:
    """Escape a user's text for plotly, which interprets tags and few entities besides these three."""
    return html.escape(str(text), quote=False)


def families(names: Sequence[str]) -> list[list[int]]:
    """Group the positions of versions that differ only by a level (``magnitude-0.1``, ``magnitude-0.3``), in order.

    A version without others of its kind is a family of its own.
    """
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        stem, _, level = name.rpartition("-")
        try:
            float(level)
        except ValueError:
            stem = ""
        found.setdefault(stem or f"{place}", []).append(place)
    return list(found.values())


def blank(*, height: int = 380, x: str = "", y: str = "", **layout: Any) -> Any:
    """Make a figure without traces.

    Args:
        height: height in pixels.
        x, y: titles of the axes.
        layout: further layout arguments of plotly.
    """
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 16, "t": 16, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        **layout,
    )
    figure.update_xaxes(title_text=x, automargin=True)
    figure.update_yaxes(title_text=y, automargin=True)
    return figure


def by_version(figure: Any, names: Sequence[str], values: Sequence[Any], name: str, **style: Any) -> None:
    """Add points over the versions; a line joins the points of one family.

    Args:
        figure: figure whose x axis shows versions.
        names: names of the versions.
        values: one value per version; None leaves a gap.
        name: name of the points.
        style: style of markers and lines: ``colour``, ``symbol``, ``dash``, ``error`` (plotly's ``error_y``).
    """
    x: list[str | None] = []
    y: list[Any] = []
    for family in families(names):
        x += [*(label(names[place]) for place in family), None]
        y += [*(values[place] for place in family), None]
    error = style.get("error")
    if error is not None:
        error = {"type": "data", "symmetric": False, "thickness": 1, "width": 3, **_spaced(names, error)}
    colour = style.get("colour", BLUE)
    figure.add_scatter(
        x=x,
        y=y,
        error_y=error,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 1.5, "dash": style.get("dash", "solid")},
        marker={"color": colour, "size": 9, "symbol": style.get("symbol", "circle")},
    )
    versions_axis(figure, names)


def _spaced(names: Sequence[str], error: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Order error bars like the points of `by_version`."""
    return {
        key: [each for family in families(names) for each in (*(values[p] for p in family), None)]
        for key, values in error.items()
    }


def versions_axis(figure: Any, names: Sequence[str]) -> None:
    """Label the x axis with the versions, in their order."""
    listed = [label(name) for name in names]
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=listed, tickangle=-40)
    figure.update_xaxes(range=[-0.6, len(names) - 0.4])


def interval(
    values: Iterable[float | None], low: Iterable[float | None], high: Iterable[float | None]
) -> dict[str, list[float | None]]:
    """Return error bars up and down to the ends of the intervals, if there are any."""
    rows = list(zip(values, low, high, strict=True))
    return {
        "array": [None if v is None or b is None else b - v for v, _, b in rows],
        "arrayminus": [None if v is None or a is None else v - a for v, a, _ in rows],
    }


def bars(figure: Any, x: Sequence[Any], y: Sequence[Any], name: str, colour: str, **more: Any) -> None:
    """Add bars; `x` is read as text."""
    marker = {"color": colour, **more.pop("marker", {})}
    figure.add_bar(x=[label(each) for each in x], y=list(y), name=name, marker=marker, **more)
    figure.update_xaxes(type="category", tickangle=-40)


def heat(
    rows: Sequence[str],
    columns: Sequence[Any],
    values: Sequence[Sequence[float | None]],
    *,
    unit: str,
    around: float | None = None,
    ends: tuple[float, float] | None = None,
    digits: int = 2,
    x: str = "",
) -> Any:
    """Make a heat map with its numbers written in the cells.

    Args:
        rows: names of the r rows, the first on top.
        columns: names of the c columns.
        values: (r, c) values; None leaves a cell empty.
        unit: title of the colour scale.
        around: the middle of a diverging scale; None for a sequential scale.
        ends: ends of the scale; by default the smallest and largest value.
        digits: number of decimals.
        x: title of the x axis.
    """
    found = [each for row in values for each in row if each is not None]
    low, high = ends or (min(found, default=0.0), max(found, default=1.0))
    if around is not None:
        reach = max(abs(high - around), abs(around - low)) or 1.0
        low, high = around - reach, around + reach
    figure = blank(height=max(240, 90 + 24 * len(rows)), x=x)
    figure.add_heatmap(
        x=[label(each) for each in columns],
        y=[label(each) for each in rows],
        z=[list(row) for row in values],
        zmin=low,
        zmax=high,
        colorscale=SEQUENTIAL if around is None else DIVERGING,
        colorbar={"title": {"text": unit, "side": "right"}, "thickness": 12},
        texttemplate=f"%{{z:.{digits}f}}" if len(rows) * len(columns) <= 400 else None,
        xgap=1,
        ygap=1,
        hovertemplate="%{y}, %{x}: %{z}<extra></extra>",
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category", autorange="reversed")
    return figure


def picture(image: object) -> str | None:
    """Return the image of a document if it is embedded; addresses of other places are ignored."""
    return image if isinstance(image, str) and IMAGE.fullmatch(image) else None


def reach(values: Iterable[float | None], digits: int = 3) -> str:
    """Describe a range of values, as ``0.1 to 0.9``, for the text of a figure."""
    found = [each for each in values if each is not None]
    if not found:
        return "no values"
    low, high = min(found), max(found)
    return f"{low:.{digits}g}" if low == high else f"{low:.{digits}g} to {high:.{digits}g}"
