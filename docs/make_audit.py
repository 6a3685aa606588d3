"""Make the tables and the picture of an audit of classes and exemplars for docs/audit.md.

leanfront audit NAME --kind classes --kind exemplars --levels pruning --levels quantisation --json > found.json
python docs/make_audit.py tables found.json
python docs/make_audit.py picture found.json > docs/audit-digits.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from make_picture import STYLE, Axis

WIDTH, HEIGHT, TOP, BOTTOM = 880, 360, 84, 60
PANELS = ((70, 400), (510, 840))
SETS = {"magnitude": "#0072b2", "gradual": "#d55e00"}
"""First part of a level's name -> colour, from Okabe and Ito's colour-blind safe palette."""
OWN = """
  .floor { fill: #9aa5b1; opacity: 0.35; }
"""


def documents(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the documents about the whole search by kind of audit."""
    return {each["kind"]: each["document"] for each in json.loads(path.read_text())["audits"]}


def tables(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Format the results of both kinds as one Markdown table."""
    classes = {each["version"]: each for each in found["classes"]["versions"]}
    lines = [
        "| version | top-1 | classes p <= .05 (up, down) | q <= .05 | mean gain / loss, points | untestable "
        "| PIE rate | of halves | noise floor | dense top-1 on PIE | version's |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in found["exemplars"]["versions"]:
        own = classes[each["version"]]
        p, floor, pie = own["by_p"], each["floor"], each["subsets"]["exemplars"]
        cells = [
            each["version"],
            _share(own["top1"]),
            f"{p['n_significant']} ({p['n_up']}, {p['n_down']})",
            str(own["by_q"]["n_significant"]),
            f"{_points(p['mean_gain_points'])} / {_points(p['mean_loss_points'])}",
            str(own["undetermined"] + own["degenerate"]),
            f"{each['rate']:.2f}%",
            "-" if floor is None else f"{floor['matched_rate']:.2f}%",
            "-" if floor is None else f"{floor['rate']:.2f}%",
            _share(pie["dense_top1"]),
            _share(pie["top1"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    dense = next(iter(classes.values()))["dense_top1"]
    about = found["classes"]
    lines.append(
        f"\n{about['samples']} {about['split']} samples, {about['population']['text']}; dense top-1 "
        f"{dense:.4f}"
    )
    return "\n".join(lines)


def picture(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw significant classes, and the PIE rate above its noise floor, against the share of pruned weights."""
    classes, exemplars = found["classes"]["versions"], found["exemplars"]["versions"]
    count = len(classes[0]["groups"])
    points = {
        name: [
            (share, own["by_p"]["n_significant"], pie["floor"]["matched_rate"])
            for own, pie in zip(classes, exemplars, strict=True)
            if (share := _level(own["version"], name)) is not None
        ]
        for name in SETS
    }
    points = {name: found for name, found in points.items() if found}
    most = max(rate for each in points.values() for *_, rate in each)
    floor = max(pie["floor"]["rate"] for pie in exemplars)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Significant classes and exemplars against sparsity</title>",
        f"<style>{STYLE}{OWN}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="12"/>',
        *_panel(0, "classes hurt or spared more than the rest (p <= .05)", count, "{:.0f}", points, 1, None),
        *_panel(1, "PIE rate between halves of populations", 1.1 * most, "{:.0f}%", points, 2, floor),
    ]
    for place, name in enumerate(points):
        across = PANELS[0][0] + 210 * place
        lines += [
            f'<circle cx="{across + 6}" cy="{HEIGHT - 16}" r="5" fill="{SETS[name]}"/>',
            _text(across + 18, HEIGHT - 12, f"{name} pruning", "soft", "start"),
        ]
    if floor:
        lines.append(
            _text(PANELS[1][1], HEIGHT - 12, "grey: dense against dense, the noise floor", "soft", "end")
        )
    return "\n".join([*lines, "</svg>\n"])


def _panel(
    number: int,
    title: str,
    most: float,
    form: str,
    points: Mapping[str, Sequence[tuple[float, float, float]]],
    column: int,
    floor: float | None,
) -> list[str]:
    left, right = PANELS[number]
    x, y = Axis(0, 1, left, right), Axis(0, most, HEIGHT - BOTTOM, TOP)
    lines = [_text(left - 40, 44, title, "ink bold", "start")]
    for step in range(6):
        value = most * step / 5
        lines += [
            f'<line class="grid" x1="{left}" y1="{y(value):.1f}" x2="{right}" y2="{y(value):.1f}"/>',
            _text(left - 8, y(value) + 4, form.format(value), "soft", "end"),
            _text(x(step / 5), HEIGHT - BOTTOM + 20, f"{20 * step}%", "soft"),
        ]
    if floor is not None:
        lines.append(
            f'<rect class="floor" x="{left}" y="{y(floor):.1f}" width="{right - left}" '
            f'height="{max(1.0, y(0) - y(floor)):.1f}"/>'
        )
    for name, each in points.items():
        path = " ".join(f"{x(point[0]):.1f},{y(point[column]):.1f}" for point in each)
        lines.append(f'<polyline fill="none" stroke="{SETS[name]}" stroke-width="2" points="{path}"/>')
        lines += [
            f'<circle class="point" cx="{x(point[0]):.1f}" cy="{y(point[column]):.1f}" r="5" fill="{SETS[name]}">'
            f"<title>{name} {point[0]:g}: {form.format(point[column])}</title></circle>"
            for point in each
        ]
    return lines


def _level(version: str, name: str) -> float | None:
    first, _, last = version.partition("-")
    return float(last) if first == name else None


def _text(x: float, y: float, text: str, kind: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


if __name__ == "__main__":
    what, path = sys.argv[1:]
    sys.stdout.write({"tables": tables, "picture": picture}[what](documents(Path(path))))
