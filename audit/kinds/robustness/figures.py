"""Figures of the audit ``robustness``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leanfront.core.audit.document import DENSE, Document, versions_of
from leanfront.core.audit.drawing import (
    COLOURS,
    GREEN,
    ORANGE,
    SYMBOLS,
    VERMILION,
    blank,
    by_version,
    heat,
    interval,
    label,
    marks,
    reach,
)
from leanfront.core.audit.pieces import Drawing, Piece
from leanfront.core.audit.redundancy_figure import alike

SUITES = {"c_like": "C-like corruptions", "published": "published corruptions"}
MOST_LINES = 12
"""Largest number of versions drawn as lines; from a longer list, evenly spread ones are drawn."""


def pieces(document: Document) -> list[Piece]:
    """Draw corruptions, noise and attacks by version, heat maps of each version, and similar corruptions."""
    found: list[Piece] = [*_accuracies(document), *_attacks(document), *_noise(document)]
    for suite in (name for name in SUITES if name in document[DENSE]):
        found += _suite(document, suite)
    return found


def _accuracies(document: Document) -> list[Piece]:
    named = versions_of(document, dense=True)
    names = [name for name, _ in named]
    clean = [each["c_like"]["clean_accuracy"] for _, each in named]
    figure = blank(height=320, y="accuracy")
    by_version(figure, names, clean, "clean")
    corrupted = [
        _mean(row for c in each["c_like"]["corruptions"] for row in c["accuracy"]) for _, each in named
    ]
    by_version(figure, names, corrupted, "corrupted, mean", colour=VERMILION, symbol="diamond")
    if all("shift" in each for _, each in named):
        shifted = [each["shift"]["accuracy"] for _, each in named]
        by_version(figure, names, shifted, "on other data", colour=GREEN, symbol="square")
    told = f"Clean accuracy {reach(clean)}, under corruptions {reach(corrupted)}."
    return [Drawing("Accuracy, clean and under shift", figure, told, small=True)]


def _mean(values: Any) -> float | None:
    found = [each for each in values if each is not None]
    return sum(found) / len(found) if found else None


def _attacks(document: Document) -> list[Piece]:
    named = versions_of(document, dense=True)
    names = [name for name, _ in named]
    figure = blank(height=320, y="accuracy")
    drawn = []
    for place, first in enumerate(document[DENSE]["attacks"]):
        rows = [each["attacks"][place] for _, each in named]
        values = [row["accuracy"] for row in rows]
        drawn += values
        ends = interval(values, [row["low"] for row in rows], [row["high"] for row in rows])
        figure.add_bar(
            x=[label(name) for name in names],
            y=values,
            name=label(f"{first['attack']['name']}{' made on dense' if first['transferred'] else ''}"),
            marker={
                "color": COLOURS[place // 2 % len(COLOURS)],
                "pattern": {"shape": "/" if first["transferred"] else ""},
            },
            error_y={"type": "data", "symmetric": False, "thickness": 1, "width": 2, **ends},
        )
    figure.update_layout(barmode="group")
    figure.update_xaxes(type="category", tickangle=-40)
    return [Drawing("Accuracy under attacks", figure, f"Accuracy under attacks: {reach(drawn)}.")]


def _noise(document: Document) -> list[Piece]:
    named = versions_of(document, dense=True)
    flips = blank(height=320, x="deviation of the noise, pixels in [0, 1]", y="flip rate")
    drawn = _spread(named)
    for place, (name, each) in enumerate(drawn):
        rates = each["stability"]["flips"]
        flips.add_scatter(
            x=[rate["level"] for rate in rates],
            y=[rate["value"] for rate in rates],
            mode="lines+markers",
            name=label(name),
            line={"color": marks(place)["color"], "width": 1.5},
            marker={"symbol": marks(place)["symbol"], "size": 7},
        )
    flips.update_yaxes(rangemode="tozero")
    names = [name for name, _ in named]
    agreement = blank(height=320, y="agreement with dense")
    rows = [each["stability"]["noise_agreement"] for _, each in named]
    _rates(agreement, names, rows, "on nothing but noise", 0)
    for place, rate in enumerate(document[DENSE]["stability"]["noisy_agreement"], start=1):
        rows = [each["stability"]["noisy_agreement"][place - 1] for _, each in named]
        _rates(agreement, names, rows, f"with noise of {rate['level']:g}", place)
    margins = blank(height=320, y="local margin, pixels (2-norm)")
    medians = [each["stability"]["margin"]["median"] for _, each in named]
    quartiles = interval(
        medians,
        [each["stability"]["margin"]["lower"] for _, each in named],
        [each["stability"]["margin"]["upper"] for _, each in named],
    )
    by_version(margins, names, medians, "median, quartiles", error=quartiles)
    margins.update_yaxes(rangemode="tozero")
    last = [each["stability"]["flips"][-1]["value"] for _, each in named]
    alike = [each["stability"]["noise_agreement"]["value"] for _, each in named]
    return [
        Drawing("Answers that Gaussian noise flips", flips, f"Flips at the strongest noise: {reach(last)}."),
        Drawing(
            "Agreement with the dense model", agreement, f"Agreement on noise alone: {reach(alike)}.", True
        ),
        Drawing("Distance to the decision border", margins, f"Median local margin: {reach(medians)}.", True),
    ]


def _rates(
    figure: Any, names: Sequence[str], rows: Sequence[Mapping[str, Any]], name: str, place: int
) -> None:
    values = [row["value"] for row in rows]
    ends = interval(values, [row["low"] for row in rows], [row["high"] for row in rows])
    by_version(figure, names, values, name, colour=COLOURS[place], symbol=SYMBOLS[place], error=ends)


def _spread(named: Sequence[Any]) -> Sequence[Any]:
    if len(named) <= MOST_LINES:
        return named
    step = (len(named) - 1) / (MOST_LINES - 1)
    return [named[round(place * step)] for place in range(MOST_LINES)]


def _suite(document: Document, suite: str) -> list[Piece]:
    named = versions_of(document, dense=True)
    title = SUITES[suite]
    names = [name for name, _ in named]
    figure = blank(height=320, y="mCE, 1 for dense")
    values = [each[suite]["mce"] for _, each in named]
    ends = interval(values, [e[suite]["mce_low"] for _, e in named], [e[suite]["mce_high"] for _, e in named])
    by_version(figure, names, values, "mCE with its 95% interval", error=ends)
    relative = [each[suite]["relative_mce"] for _, each in named]
    by_version(figure, names, relative, "relative mCE", colour=ORANGE, symbol="square")
    found: list[Piece] = [
        Drawing(
            f"Mean corruption error: {title}", figure, f"mCE of each version: {reach(values)}.", small=True
        )
    ]
    corruptions = [each["name"] for each in document[DENSE][suite]["corruptions"]]
    found += _redundancy(document, suite)
    versions = versions_of(document)
    table = [[each["ce"] for each in version[suite]["corruptions"]] for _, version in versions]
    across = heat(
        corruptions,
        [name for name, _ in versions],
        [list(row) for row in zip(*table, strict=True)],
        unit="CE",
        around=1.0,
        ends=(0.0, 2.0),
    )
    # An error above the dense model's is a loss.
    across.update_traces(reversescale=True)
    across.update_xaxes(tickangle=-40)
    told = f"Corruption error of each version, 1 where it errs like dense: {reach(v for row in table for v in row)}."
    found.append(Drawing(f"Corruption error by version: {title}", across, told))
    for name, version in versions_of(document, dense=True):
        found += _heat_maps(name, version[suite], corruptions, title)
    return found


def _heat_maps(name: str, own: Mapping[str, Any], corruptions: Sequence[str], title: str) -> list[Piece]:
    accuracy = [each["accuracy"] for each in own["corruptions"]]
    drawn = heat(corruptions, own["severities"], accuracy, unit="accuracy", ends=(0.0, 1.0), x="severity")
    told = f"{name}: accuracy by corruption and severity, {reach(v for row in accuracy for v in row)}."
    found: list[Piece] = [Drawing(f"Accuracy: {title}", drawn, told, small=True, fold=name)]
    if name != DENSE:
        change = [
            [None if a is None or d is None else 100 * (a - d) for a, d in zip(*pair, strict=True)]
            for pair in ((each["accuracy"], each["dense_accuracy"]) for each in own["corruptions"])
        ]
        drawn = heat(
            corruptions, own["severities"], change, unit="points", around=0.0, digits=1, x="severity"
        )
        told = f"{name}: accuracy less that of dense, {reach(v for row in change for v in row)} points."
        found.append(Drawing(f"Difference from dense: {title}", drawn, told, small=True, fold=name))
    return found


def _redundancy(document: Document, suite: str) -> list[Piece]:
    # The similarity of corruptions is known only for all versions together, not in a candidate's own document.
    found = document.get(suite, {}).get("redundancy")
    return [] if found is None else [alike(found, f"Which corruptions are alike: {SUITES[suite]}")]
