"""Figures of the audit ``limits``: thresholds on clean and shifted data, and other indicators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leanfront.core.audit.document import Document
from leanfront.core.audit.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    blank,
    label,
    marks,
    reach,
)
from leanfront.core.audit.pieces import Drawing, Piece

MARKERS = (
    ("potential", "prune potential", GREEN, "dash"),
    ("segmented", "breakpoint", VERMILION, "solid"),
    ("knee", "knee", ORANGE, "dot"),
    ("curvature", "curvature", PURPLE, "dashdot"),
)
"""Ways to find a threshold: key in a document, name, colour and dash."""
INDICATORS = {
    "accuracy": "accuracy",
    "ece": "ECE",
    "generalisation_gap": "test loss less training loss",
    "agreement": "agreement with dense",
    "flip_rate": "flip rate under noise",
}
BEFORE = {
    True: "it changes before the cliff",
    False: "it does not change before the cliff",
    None: "there is no cliff or no change to compare",
}
TICKS = 14
"""Approximate number of labels that fit on an axis."""
LARGEST = 0.999
"""Largest ratio drawn: a ratio of 1 has no place on a logarithmic axis."""


def pieces(document: Document) -> list[Piece]:
    """Draw accuracy along each axis with its thresholds, under shift, other indicators, and every layer alone."""
    found: list[Piece] = []
    axes = {name: axis for name, axis in document["axes"].items() if "limits" in axis}
    for name, axis in axes.items():
        found.append(_cliffs(name, axis, document["delta"]))
    for name, axis in axes.items():
        found += _shift(name, axis)
    for name, axis in axes.items():
        found += _indicators(name, axis)
    return found + _layers(document["layers"])


def _places(ratios: Sequence[float]) -> list[float]:
    """Return compression 1 / (1 - ratio), which separates strong compressions on a logarithmic axis."""
    return [1 / (1 - min(ratio, LARGEST)) for ratio in ratios]


def _axis(figure: Any, axis: Mapping[str, Any]) -> None:
    """Label a logarithmic axis with ratios, leaving out those that are too close."""
    ratios = sorted(axis["ratios"])
    places = _places(ratios)
    apart = (places[-1] / places[0]) ** (1 / TICKS)
    shown = [0]
    for number, place in enumerate(places):
        if place >= places[shown[-1]] * apart:
            shown.append(number)
    figure.update_xaxes(
        type="log",
        title_text=label(axis["unit"]),
        title_font_size=11,
        tickvals=[places[number] for number in shown],
        ticktext=[f"{ratios[number]:.3g}" for number in shown],
        tickangle=-40,
    )


def _breaks(own: Mapping[str, Any]) -> bool:
    """Whether there are a breakpoint and a fall."""
    return bool(own["segmented"]["exists"]) and own["cliff"] is not None


def _cliffs(name: str, axis: Mapping[str, Any], delta: float) -> Drawing:
    own = axis["limits"]
    figure = blank(y="accuracy")
    places, values = _places(axis["ratios"]), own["accuracies"]
    for key, title, colour, dash in MARKERS:
        if own[key]["value"] is None or (key == "segmented" and not _breaks(own)):
            continue
        if own[key].get("low") is not None and own[key].get("high") is not None:
            low, high = _places([own[key]["low"], own[key]["high"]])
            figure.add_vrect(x0=low, x1=high, fillcolor=colour, opacity=0.12, line_width=0)
        [place] = _places([own[key]["value"]])
        figure.add_scatter(
            x=[place, place],
            y=[0, 1],
            mode="lines",
            name=f"{title} {own[key]['value']:.3g}",
            line={"color": colour, "dash": dash, "width": 2},
        )
    figure.add_scatter(
        x=places,
        y=values,
        error_y={
            "type": "data",
            "array": [2 * each for each in own["deviations"]],
            "thickness": 1,
            "width": 3,
        },
        mode="lines+markers",
        name="accuracy, two deviations",
        line={"color": BLUE, "width": 2},
        marker={"size": 7},
        text=[label(version) for version in axis["versions"]],
        hovertemplate="%{text}: %{y:.4f}<extra></extra>",
    )
    figure.add_scatter(
        x=[places[0], places[-1]],
        y=[values[0] - delta] * 2,
        mode="lines",
        name=f"dense less {delta:g}",
        line={"color": GREY, "width": 1, "dash": "dot"},
    )
    _axis(figure, axis)
    figure.update_yaxes(range=[0, 1.02])
    why = f" ({own['reason']})" if own["reason"] else ""
    told = f"{name}: {own['verdict']}{why}; accuracy {reach(values)}. Shaded: 95% intervals."
    return Drawing(f"Accuracy along {name}, with every threshold", figure, told)


def _shift(name: str, axis: Mapping[str, Any]) -> list[Piece]:
    own = axis["shift"]
    if own is None:
        return []
    curves = {"clean": own["clean"], **own["corruptions"]}
    lines, errors, potentials = blank(y="accuracy"), blank(y="excess error"), blank(y="prune potential")
    for place, (distribution, found) in enumerate(curves.items()):
        style = {
            "x": _places(axis["ratios"]),
            "mode": "lines+markers",
            "name": label(distribution),
            "line": {"color": marks(place)["color"], "width": 1.5},
            "marker": {"symbol": marks(place)["symbol"], "size": 7},
        }
        lines.add_scatter(y=found["accuracies"], **style)
        if distribution in own["excess_error"]:
            errors.add_scatter(y=own["excess_error"][distribution], **style)
    lines.update_yaxes(range=[0, 1.02])
    for figure in (lines, errors):
        _axis(figure, axis)
    rows = [found["potential"] for found in curves.values()]
    potentials.add_bar(
        x=[label(each) for each in curves],
        y=[row["value"] for row in rows],
        marker={"color": BLUE},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [row["high"] - row["value"] for row in rows],
            "arrayminus": [row["value"] - row["low"] for row in rows],
            "thickness": 1,
        },
    )
    potentials.update_xaxes(type="category", tickangle=-40)
    share = own["potential"]
    told = (
        f"{name}: clean potential {share['clean']:.3g}, mean under corruption {share['mean']:.3g}, lowest "
        f"{share['lowest']:.3g} under {share['lowest_under']}."
    )
    excess = reach(own["mean_excess_error"])
    fold = f"Under shift: {name}"
    return [
        Drawing("Accuracy of each distribution", lines, told, small=True, fold=fold),
        Drawing("Prune potential of each distribution", potentials, told, small=True, fold=fold),
        Drawing(
            "Error beyond that on clean data", errors, f"{name}: mean excess error {excess}.", True, fold
        ),
    ]


def _indicators(name: str, axis: Mapping[str, Any]) -> list[Piece]:
    found: list[Piece] = []
    cliff = axis["limits"]["cliff"]
    for key, own in axis["indicators"].items():
        title = INDICATORS.get(key, key)
        figure = blank(height=300, y=title)
        figure.add_scatter(
            x=_places(axis["ratios"]),
            y=own["values"],
            error_y={
                "type": "data",
                "array": [2 * (each or 0.0) for each in own["deviations"]],
                "thickness": 1,
            },
            mode="lines+markers",
            line={"color": BLUE, "width": 1.5},
            showlegend=False,
        )
        for value, colour, dash, said in (
            (cliff, VERMILION, "solid", "cliff"),
            (own["leaves"], GREEN, "dash", "first changes"),
        ):
            if value is not None:
                [place] = _places([value])
                line = {"color": colour, "dash": dash}
                figure.add_vline(x=place, line=line)
                figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=f"{said} {value:.3g}")
        _axis(figure, axis)
        told = f"{title} along {name}: {reach(own['values'])}; {BEFORE[own['before_cliff']]}."
        found.append(Drawing(title, figure, told, small=True, fold=f"Indicators: {name}"))
    return found


def _layers(document: Mapping[str, Any]) -> list[Piece]:
    found: list[Piece] = []
    for axis in dict.fromkeys(str(each["axis"]) for each in document["limits"]):
        own = [each for each in document["limits"] if each["axis"] == axis]
        values = [each["potential"]["value"] for each in own]
        figure = blank(height=max(220, 90 + 20 * len(own)), x="prune potential")
        figure.add_bar(
            x=values,
            y=[label(each["subject"]) for each in own],
            orientation="h",
            marker={"color": BLUE},
            text=[f"{value:.2f}" for value in values],
        )
        figure.update_xaxes(range=[0, 1])
        figure.update_yaxes(type="category", autorange="reversed")
        told = f"The largest ratio of each alone within the allowed loss, {axis}: {reach(values)}."
        found.append(Drawing(f"Layers alone: {axis}", figure, told, small=True))
    return found
