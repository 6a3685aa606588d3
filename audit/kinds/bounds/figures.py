"""Figures of the audit ``bounds``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from leanfront.core.audit.description_figure import descriptions, stacked
from leanfront.core.audit.document import DENSE, Document, versions_of
from leanfront.core.audit.drawing import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    bars,
    blank,
    label,
    marks,
    reach,
)
from leanfront.core.audit.pieces import Drawing, Piece

HIGH_RATE = 0.254
"""Bits by which a uniform quantiser with an entropy coder exceeds a Gaussian's R(D), at high rates."""
STEPS = 60
BYTES = (
    ("memory_bytes", "file", BLUE),
    ("lzma_bytes", "LZMA", GREY),
    ("coded_bytes", "entropy coder", ORANGE),
    ("bound_bytes", "entropy bound", GREEN),
)


def pieces(document: Document) -> list[Piece]:
    """Draw description lengths, mismatch, rate and distortion, bytes with their bound, and noise of each layer."""
    found: list[Piece] = [_described(document, method) for method in document["uniform"]]
    found += [descriptions(versions_of(document, dense=True)), _mismatch(document)]
    found += [*_rates(document), _bytes(document), *_pruned(document)]
    for method, own in document["uniform"].items():
        made = {f"{width['bits']} bits": width["layers"] for width in _made(own) if "layers" in width}
        if made:
            found += _noise(made, f"Noise of layers: {method}")
    for name, version in versions_of(document):
        if version["layers"]:
            found += _noise({name: version["layers"]}, f"Noise of layers: {name}")
    return found


def _made(own: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the widths that could be made."""
    return [width for width in own["widths"] if "reason" not in width]


def _described(document: Document, method: str) -> Drawing:
    own = document["uniform"][method]
    named = [(f"{width['bits']} bits", width) for width in _made(own)]
    shortest = own["shortest"]
    told = f"The shortest description has {shortest} bits." if shortest else "No width could be made."
    return Drawing(f"Description length by width: {method}", stacked(named), told, small=True)


def _mismatch(document: Document) -> Drawing:
    widths = _made(document["uniform_mismatch"])
    figure = blank(x="bits of weights and activations", y="share of answers that change")
    x = [width["bits"] for width in widths]
    bounds = [None if width["bound"] is None else width["bound"]["value"] for width in widths]
    rows = (
        ("bound, mean over its samples", bounds, VERMILION, "diamond"),
        ("measured on all samples", [width["measured"] for width in widths], BLUE, "circle"),
        ("measured on the bound's samples", [width["measured_there"] for width in widths], GREEN, "square"),
    )
    for name, values, colour, symbol in rows:
        figure.add_scatter(
            x=x,
            # Zero has no place on a logarithmic axis.
            y=[each or None for each in values],
            mode="lines+markers",
            name=name,
            line={"color": colour, "width": 1.5},
            marker={"symbol": symbol, "size": 8},
        )
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    told = f"Bound {reach(bounds)}, measured {reach(rows[1][1])}; values of 0 are not shown."
    return Drawing("Mismatch with the dense model, measured and bound", figure, told)


def _points(document: Document) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (name, layers) of everything with known bits and distortion."""
    found = [
        (f"uniform, {method}", width["layers"])
        for method, own in document["uniform"].items()
        for width in _made(own)
        if "layers" in width
    ]
    return [*found, *((name, version["layers"]) for name, version in versions_of(document))]


def _rates(document: Document) -> list[Piece]:
    """Draw bits against distortion relative to the source, so that one curve is the bound of all layers."""

    def square(layer: str, point: Mapping[str, Any]) -> float:
        return float(point["mean_square"] / document["sources"][layer]["variance"])

    def absolute(layer: str, point: Mapping[str, Any]) -> float:
        return float(point["mean_absolute"] * document["sources"][layer]["rate"])

    kinds = (
        ("squared error, Gaussian source", square, "mean square error / variance", 2.0),
        ("absolute error, Laplacian source", absolute, "mean absolute error / that of zero", 1.0),
    )
    below = sum(
        point["rate"]["below"] for _, own in _points(document) for point in own.values() if point["rate"]
    )
    found: list[Piece] = []
    for title, distortion, unit, power in kinds:
        figure = blank(height=420, x="bits a weight", y=unit)
        series: dict[str, list[tuple[float, float, str]]] = {}
        for name, own in _points(document):
            drawn = [(layer, point["rate"]) for layer, point in own.items() if point["rate"] is not None]
            series.setdefault(name, []).extend(
                (point["bits"], distortion(layer, point), layer) for layer, point in drawn
            )
        for place, (name, rows) in enumerate(series.items()):
            figure.add_scatter(
                x=[row[0] for row in rows],
                y=[row[1] or None for row in rows],
                mode="markers",
                name=label(name),
                text=[label(row[2]) for row in rows],
                hovertemplate="%{text}: %{x:.2f} bits, %{y:.3g}",
                marker={"size": 7, "opacity": 0.8, **marks(place)},
            )
        most = max((row[0] for rows in series.values() for row in rows), default=8.0)
        rates = [most * step / STEPS for step in range(STEPS + 1)]
        curves = [("R(D): nothing lies below", 0.0, "solid")]
        if power == 2.0:
            curves.append(("R(D) + 0.254: uniform, entropy-coded", HIGH_RATE, "dot"))
        for name, over, dash in curves:
            figure.add_scatter(
                x=[rate + over for rate in rates],
                y=[2 ** (-power * rate) for rate in rates],
                mode="lines",
                name=name,
                line={"color": GREY, "dash": dash, "width": 2},
            )
        least = min((row[1] for rows in series.values() for row in rows if row[1]), default=0.01)
        # The curve extends beyond the points.
        figure.update_yaxes(type="log", range=[math.log10(least) - 0.5, 0.3], exponentformat="power")
        told = f"One point per layer; {below} lie below the bound of their fitted source."
        found.append(Drawing(f"Rate and distortion: {title}", figure, told))
    return found


def _bytes(document: Document) -> Drawing:
    named = [(DENSE, document["dense"]), *versions_of(document)]
    named += [
        (f"{method}, {width['bits']} bits", width)
        for method, own in document["uniform"].items()
        for width in _made(own)
    ]
    figure = blank(y="bytes")
    for key, title, colour in BYTES:
        bars(figure, [name for name, _ in named], [each[key] for _, each in named], title, colour)
    figure.update_layout(barmode="group")
    figure.update_yaxes(type="log", dtick="D2")
    shares = [each["bound_bytes"] / each["memory_bytes"] for _, each in named if each["memory_bytes"]]
    told = f"The entropy bound is {reach(shares)} of the bytes."
    return Drawing("Bytes of the file, and under entropy coding", figure, told)


def _pruned(document: Document) -> list[Piece]:
    series = {
        name: [
            (layer, own["pruning"]) for layer, own in version["layers"].items() if own["pruning"] is not None
        ]
        for name, version in versions_of(document)
    }
    series = {name: rows for name, rows in series.items() if rows}
    if not series:
        return []
    figure = blank(x="share of zeros", y="distortion / power")
    for place, (name, rows) in enumerate(series.items()):
        figure.add_scatter(
            x=[row["share"] for _, row in rows],
            y=[row["distortion"] for _, row in rows],
            mode="markers",
            name=label(name),
            text=[label(layer) for layer, _ in rows],
            hovertemplate="%{text}: %{x:.2f}, %{y:.3g}",
            marker={"size": 8, **marks(place)},
        )
    shares = [step / (STEPS + 1) for step in range(STEPS + 1)]
    thresholds = [-math.log(1 - share) for share in shares]
    figure.add_scatter(
        x=shares,
        y=[1 - math.exp(-u) * (1 + u + u * u / 2) for u in thresholds],
        mode="lines",
        name="smallest weights of a Laplacian",
        line={"color": GREY, "width": 2},
    )
    found = [row["distortion"] for rows in series.values() for _, row in rows]
    return [Drawing("Distortion of pruning", figure, f"Distortion over the weights' power: {reach(found)}.")]


def _noise(named: Mapping[str, Mapping[str, Any]], fold: str) -> list[Piece]:
    """Draw the SQNR and gain of every layer, one colour per width."""
    found: list[Piece] = []
    for key, title in (("sqnr", "SQNR, dB"), ("gain", "SQNR over that of plain rounding, dB")):
        figure = blank(y=title)
        drawn: list[float | None] = []
        for place, (name, layers) in enumerate(named.items()):
            values = [layer[key] for layer in layers.values()]
            drawn += values
            bars(figure, list(layers), values, label(name), COLOURS[place % len(COLOURS)])
        figure.update_layout(barmode="group")
        found.append(Drawing(title, figure, f"{title} of each layer: {reach(drawn)}.", fold=fold))
    return found
