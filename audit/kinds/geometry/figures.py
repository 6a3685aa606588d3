"""Figures of the audit ``geometry``: the six views of the robustness lottery.

Source: arXiv 2206.07918.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanfront.core.audit.arrays import unpacked
from leanfront.core.audit.document import Document
from leanfront.core.audit.drawing import GREY, blank, heat, label, marks, picture, reach
from leanfront.core.audit.pieces import Card, Drawing, Gallery, Piece
from leanfront.core.audit.redundancy_figure import alike

UNITS = {"angle": "degrees", "norm": "", "margin": ""}
CLEAN = "clean"
COVERED = 90
"""Percentile of changes at which the colours of occlusion end, so that broken models do not hide the rest."""


def pieces(document: Document) -> list[Piece]:
    """Draw evaluation, similarity, global and local geometry, attribution, samples, and similar corruptions."""
    found: list[Piece] = [
        _evaluation(document),
        *_weights(document),
        *_similarity(document),
        _criteria(document),
    ]
    found += [*_measures(document), _angles(document), *_local(document), *_confusion(document)]
    found += [*_occlusion(document), *_samples(document)]
    redundancy = document["directions"]["redundancy"]
    return [*found, alike(redundancy, "Which corruptions are alike")]


def _ways(document: Document) -> list[str]:
    return [
        CLEAN if way["corruption"] is None else f"{way['corruption']} {way['severity']}"
        for way in document["ways"]
    ]


def _names(document: Document) -> list[str]:
    return [str(model["name"]) for model in document["models"]]


def _criteria_of(document: Document) -> list[str]:
    return list(dict.fromkeys(str(model["criterion"]) for model in document["models"]))


def _style(document: Document, model: Mapping[str, Any]) -> dict[str, str]:
    """Return the colour and symbol of a model's criterion."""
    return marks(_criteria_of(document).index(str(model["criterion"])))


def _middle(document: Document) -> list[int]:
    """Return the positions of the dense model, the candidates, and every criterion at the middle ratio."""
    ratios = sorted({model["ratio"] for model in document["models"] if model["ratio"] is not None})
    middle = ratios[len(ratios) // 2] if ratios else None
    return [place for place, model in enumerate(document["models"]) if model["ratio"] in (None, middle)]


def _array(document: Document, name: str) -> NDArray[Any]:
    found = unpacked(document["arrays"][name])
    return found.astype(np.float64) if found.dtype.kind == "f" else found


def _numbers(values: NDArray[Any]) -> list[Any]:
    """Return nested lists, with None for values that are not finite."""
    listed: list[Any] = np.where(np.isfinite(values), values, np.nan).astype(object).tolist()

    def cleaned(each: Any) -> Any:
        if isinstance(each, list):
            return [cleaned(one) for one in each]
        return None if each != each else each

    found: list[Any] = cleaned(listed)
    return found


def _accuracy(document: Document) -> list[list[float]]:
    """Compute the accuracy of each model on each way."""
    found: list[list[float]] = (
        (_array(document, "predicted") == _array(document, "labels")).mean(axis=-1).tolist()
    )
    return found


def _evaluation(document: Document) -> Drawing:
    rows = _accuracy(document)
    drawn = heat(_names(document), _ways(document), rows, unit="accuracy", ends=(0.0, 1.0))
    drawn.update_xaxes(tickangle=-40)
    told = f"Accuracy of each model and corruption: {reach(v for row in rows for v in row)}."
    return Drawing("Evaluation: accuracy of each model and corruption", drawn, told)


def _weights(document: Document) -> list[Piece]:
    if len(document["ways"]) < 2:
        return []
    figure, accuracy = blank(x="non-zero weights", y="mean accuracy under corruption"), _accuracy(document)
    for criterion in _criteria_of(document):
        own = [place for place, m in enumerate(document["models"]) if m["criterion"] == criterion]
        models = [document["models"][place] for place in own]
        corrupted = [float(np.mean(accuracy[place][1:])) for place in own]
        figure.add_scatter(
            x=[model["nonzero_weights"] for model in models],
            y=corrupted,
            mode="lines+markers",
            name=label(criterion),
            text=[label(model["name"]) for model in models],
            line={"color": _style(document, models[0])["color"], "width": 1},
            marker={"size": 9, **_style(document, models[0])},
        )
    figure.update_xaxes(type="log")
    share = document["directions"]["parameters"]["explained"]
    told = "The number of weights left explains "
    told += "an unknown share" if share is None else f"{share:.0%}"
    return [Drawing("Robustness by weights left", figure, f"{told} of the variance of that accuracy.")]


def _similarity(document: Document) -> list[Piece]:
    found: list[Piece] = []
    for name, own in zip(_ways(document), document["similarity"]["ways"], strict=True):
        fold = "" if name == CLEAN else "Similarity under corruption"
        found.append(_map(document, own["points"], own, f"Similarity: {name}", fold))
        if own["umap"] is not None:
            found.append(_map(document, own["umap"], {"links": []}, f"Similarity by UMAP: {name}", fold))
    return found


def _map(document: Document, points: Any, own: Mapping[str, Any], title: str, fold: str) -> Drawing:
    figure = blank(height=440 if not fold else 360)
    lines: tuple[list[Any], list[Any]] = ([], [])
    for first, second in own["links"]:
        for axis, values in enumerate(lines):
            values += [points[first][axis], points[second][axis], None]
    figure.add_scatter(
        x=lines[0],
        y=lines[1],
        mode="lines",
        line={"color": GREY, "width": 1},
        hoverinfo="skip",
        name="nearest",
    )
    for criterion in _criteria_of(document):
        places = [place for place, m in enumerate(document["models"]) if m["criterion"] == criterion]
        models = [document["models"][place] for place in places]
        figure.add_scatter(
            x=[points[place][0] for place in places],
            y=[points[place][1] for place in places],
            mode="markers",
            name=label(criterion),
            text=[label(model["name"]) for model in models],
            hovertemplate="%{text}<extra></extra>",
            # Smaller where more is pruned.
            marker={
                "size": [14 - 9 * (model["ratio"] or 0.0) for model in models],
                **_style(document, models[0]),
            },
        )
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False, scaleanchor="x")
    told = "One point per model, smaller where more is pruned; close points have similar angles, norms and margins."
    if own.get("explained"):
        told += f" The two axes hold {sum(own['explained']):.0%} of the distances."
    return Drawing(title, figure, told, small=bool(fold), fold=fold)


def _criteria(document: Document) -> Drawing:
    own = document["alike"]
    drawn = heat(own["criteria"], own["criteria"], own["distance"], unit="distance")
    drawn.update_xaxes(tickangle=-40)
    nearest = ", ".join(f"{p['first']} and {p['second']} ({p['distance']:.2f})" for p in own["pairs"][:3])
    told = f"Mean distance of criteria at equal ratio; the nearest are {nearest or 'not known'}."
    return Drawing("Which criteria are alike", drawn, told)


def _measures(document: Document) -> list[Piece]:
    """Draw the global geometry: one line per model over the classes."""
    table, classes = _array(document, "class_means"), [label(each["name"]) for each in document["classes"]]
    found: list[Piece] = []
    for number, measure in enumerate(document["measures"]):
        figure = blank(x="class", y=f"mean {measure} {UNITS.get(measure, '')}".strip())
        for place in _middle(document):
            model = document["models"][place]
            style = _style(document, model)
            figure.add_scatter(
                x=classes,
                y=_numbers(table[place, 0, :, number]),
                mode="lines+markers",
                name=label(model["name"]),
                line={"color": style["color"], "width": 1.5},
                marker={"size": 7, "symbol": style["symbol"]},
            )
        figure.update_xaxes(type="category", tickangle=-40)
        if measure == "norm":
            figure.update_yaxes(type="log")
        values = table[_middle(document), 0, :, number]
        told = f"Mean {measure} of each class under each model, clean: {reach(values[np.isfinite(values)].tolist())}."
        found.append(Drawing(f"Classes by {measure}", figure, told))
    return found


def _angles(document: Document) -> Drawing:
    """Draw the distribution of the angles."""
    number = document["measures"].index("angle")
    counts, edges = _array(document, "histograms")[:, 0, number], document["edges"]["angle"]
    middles = [f"{(low + high) / 2:.0f}" for low, high in pairwise(edges)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn = heat(_names(document), middles, shares.tolist(), unit="share", x="angle, degrees")
    drawn.update_traces(texttemplate=None)
    told = (
        f"Share of the clean samples at each angle to their class, {edges[0]:.0f} to {edges[-1]:.0f} degrees."
    )
    return Drawing("Distribution of angles", drawn, told)


def _local(document: Document) -> list[Piece]:
    """Draw angle against norm of each class, dense and pruned."""
    table, names = _array(document, "class_means"), [label(each["name"]) for each in document["classes"]]
    angle, norm = (document["measures"].index(name) for name in ("angle", "norm"))
    found: list[Piece] = []
    for place in _middle(document)[1:]:
        figure = blank(height=320, x="norm", y="angle, degrees")
        dense, own = _numbers(table[0, 0]), _numbers(table[place, 0])
        # The gap separates the lines of two classes.
        ends = [point for pair in zip(dense, own, strict=True) for point in (*pair, None)]
        figure.add_scatter(
            x=[None if each is None else each[norm] for each in ends],
            y=[None if each is None else each[angle] for each in ends],
            mode="lines",
            line={"color": GREY, "width": 1},
            showlegend=False,
            hoverinfo="skip",
        )
        model = document["models"][place]
        drawn = ((0, dense, "circle-open"), (place, own, "circle"))
        for which, points, symbol in drawn:
            figure.add_scatter(
                x=[each[norm] for each in points],
                y=[each[angle] for each in points],
                mode="markers+text",
                name=label(document["models"][which]["name"]),
                text=names if which else None,
                textposition="top center",
                marker={"size": 8, "symbol": symbol, "color": _style(document, model)["color"]},
            )
        figure.update_xaxes(type="log")
        changes = table[place, 0, :, angle] - table[0, 0, :, angle]
        told = f"Change of the classes' angle: {reach(changes[np.isfinite(changes)].tolist())} degrees."
        found.append(
            Drawing(f"Angle and norm: {model['name']}", figure, told, True, "Angle and norm of each class")
        )
    return found


def _confusion(document: Document) -> list[Piece]:
    counts = _array(document, "confusion")
    classes = [str(each["name"]) for each in document["classes"]]
    found: list[Piece] = []
    for place in _middle(document):
        name = str(document["models"][place]["name"])
        own = counts[place]
        answers = [*classes, *(["another"] if own.shape[1] > len(classes) else [])]
        drawn = heat(classes, answers, own.tolist(), unit="samples", digits=0, x="answer")
        wrong = int(own.sum() - np.trace(own[:, : len(classes)]))
        told = f"{name}: {wrong} of {int(own.sum())} clean samples of these classes are answered wrongly."
        found.append(Drawing(f"Confusion: {name}", drawn, told, True, "Confusion of classes"))
    return found


def _occlusion(document: Document) -> list[Piece]:
    own = document["occlusion"]
    if own.get("reason"):
        return [Gallery("Attribution by occlusion", note=f"None: {own['reason']}.")]
    changes = _array(document, "occlusion")[:, :, document["measures"].index("margin")]
    models, samples, height, width = changes.shape
    # One picture of tiles with a gap between them.
    tiles = np.full((models * (height + 1) - 1, samples * (width + 1) - 1), np.nan)
    for model in range(models):
        for sample in range(samples):
            row, column = model * (height + 1), sample * (width + 1)
            tiles[row : row + height, column : column + width] = changes[model, sample]
    finite = np.abs(tiles[np.isfinite(tiles)])
    end = float(np.percentile(finite, COVERED)) if finite.size else 1.0
    figure = heat(
        [str(row) for row in range(len(tiles))],
        list(range(tiles.shape[1])),
        _numbers(tiles),
        unit="change of the margin",
        around=0.0,
        ends=(-end or -1.0, end or 1.0),
    )
    figure.update_traces(texttemplate=None, xgap=0, ygap=0, hovertemplate="%{z:.3g}<extra></extra>")
    names = _names(document)
    figure.update_yaxes(
        tickvals=[str(model * (height + 1) + height // 2) for model in range(models)],
        ticktext=[label(names[place]) for place in own["models"]],
        showgrid=False,
    )
    figure.update_xaxes(
        tickvals=[str(sample * (width + 1) + width // 2) for sample in range(samples)],
        ticktext=[f"sample {place}" for place in own["samples"]],
        showgrid=False,
    )
    figure.update_layout(height=120 + 14 * len(tiles))
    told = (
        f"A tile is an image under a model; a patch of {own['patch']} pixels is vermilion where covering it takes "
        "from the margin, blue where it adds."
    )
    return [Drawing("Attribution by occlusion", figure, told)]


def _samples(document: Document) -> list[Piece]:
    names = {each["label"]: str(each["name"]) for each in document["classes"]}
    images = document.get("images", {})
    found: list[Piece] = []
    for title, own in document["lists"].items():
        said = f"ratio {title}" if title.replace(".", "").isdigit() else title
        for side in ("fragile", "robust"):
            cards = [_card(each, names, images) for each in own[side]]
            shown = f"{own[f'n_{side}']} {side} samples"
            if own[f"n_{side}"] > len(own[side]):
                shown += f", {len(own[side])} shown"
            note = "" if cards else "None."
            found.append(Gallery(f"{said}: {shown}", cards, note, f"Samples: {said}"))
    return found


def _card(entry: Mapping[str, Any], names: Mapping[int, str], images: Mapping[str, Any]) -> Card:
    name = names.get(entry["label"], str(entry["label"]))
    rows = [
        ("sample", str(entry["sample"])),
        ("true", name),
        ("margin", f"{entry['margin']:.3g}"),
        ("mean drop", "-" if entry["drop"] is None else f"{entry['drop']:.3g}"),
        ("lost under", f"{entry['lost']:.0%}"),
    ]
    image = picture(images.get(str(entry["sample"])))
    return Card(image, f"sample {entry['sample']}: true {name}", rows)
