"""Draw a stored frontier as an SVG: accuracy against memory, coloured by MACs.

    leanfront frontier digits-demo --json | python docs/make_picture.py > docs/frontier.svg

The picture brings its own background and follows the reader's light or dark preference.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 880, 470
LEFT, RIGHT, TOP, BOTTOM = 74, 36, 92, 64
CLOSE = 0.015
"""Largest loss of accuracy, on validation and test, of the candidates among which the smallest is labelled."""
RAMP = ((98, 62, 160), (59, 100, 160), (33, 145, 140), (94, 201, 98), (194, 214, 50))
"""Viridis without its ends, which are invisible on black and on white."""
STYLE = """
  .card { fill: #ffffff; stroke: #d8dee6; } .ink { fill: #1f2933; } .soft { fill: #5f6c7b; }
  .grid { stroke: #e8ecf1; } .whisker { stroke: #9aa5b1; } .step { stroke: #b7c0cb; fill: none; }
  .point { stroke: #ffffff; } .dense { fill: #d55e00; } .leader { stroke: #5f6c7b; }
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; }
  .title { font-size: 18px; font-weight: 600; } .bold { font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #12181f; stroke: #2b3643; } .ink { fill: #e6ebf1; } .soft { fill: #9fb0c0; }
    .grid { stroke: #222c37; } .whisker { stroke: #566474; } .step { stroke: #3c4a59; }
    .point { stroke: #12181f; } .dense { fill: #ff8a3d; } .leader { stroke: #9fb0c0; }
  }
"""


class Axis:
    """A scale from values to pixels.

    Args:
        low: value at the first pixel.
        high: value at the last pixel.
        start: first pixel.
        end: last pixel.
        log: whether the scale is logarithmic.
    """

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self._map = math.log if log else float
        self._low, self._high = self._map(low), self._map(high)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (self._map(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)


def picture(frontier: Mapping[str, Any]) -> str:
    """Return the SVG text for the output of ``leanfront frontier NAME --json``.

    Raises:
        ValueError: there is no candidate.
    """
    candidates = sorted(frontier["candidates"], key=lambda c: float(c["memory_bytes"]))
    if not candidates:
        raise ValueError(f"search '{frontier['search']}' has no candidate to draw")
    dense = frontier["dense"]
    memory = [c["memory_bytes"] for c in candidates]
    x = Axis(min(memory) / 1.25, dense["memory_bytes"] * 1.25, LEFT, WIDTH - RIGHT, log=True)
    floor = math.floor(10 * min(c["accuracy_low"] for c in candidates)) / 10
    y = Axis(floor, 1.0, HEIGHT - BOTTOM, TOP)
    macs = [c["macs"] for c in candidates] + [dense["macs"]]
    colour = Axis(min(macs), max(macs) * (1 + 1e-9), 0, 1, log=True)
    measured = tested(dense)
    best = [
        c
        for c in candidates
        if c["accuracy"] >= dense["accuracy"] - CLOSE
        and (measured is None or (tested(c) or 0.0) >= measured - CLOSE)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f"<title>{escape(str(frontier['search']))}: accuracy against memory</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="12"/>',
            *_frame(frontier, len(candidates), x, y, floor, dense["memory_bytes"], min(memory)),
            *_legend(min(macs), max(macs)),
            *_steps(candidates, x, y),
            *(line for c in candidates for line in _point(c, x, y, ramp(colour(c["macs"])))),
            *_dense(dense, x, y),
            *(_named(best[0], dense, x, y) if best else ()),
            "</svg>\n",
        ]
    )


def tested(model: Mapping[str, Any]) -> float | None:
    """Return the test accuracy of a candidate or of the dense model; None if it was not measured."""
    for measurement in model["measurements"]:
        if measurement["name"] == "accuracy" and measurement["split"] == "test":
            return float(measurement["value"])
    return None


def ramp(share: float) -> str:
    """Return the colour at the given share of `RAMP`, as #rrggbb."""
    position = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    first = min(int(position), len(RAMP) - 2)
    mixed = (a + (position - first) * (b - a) for a, b in zip(RAMP[first], RAMP[first + 1], strict=True))
    return "#" + "".join(f"{round(channel):02x}" for channel in mixed)


def _text(x: float, y: float, text: str, kind: str = "soft", anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _frame(
    frontier: Mapping[str, Any], count: int, x: Axis, y: Axis, floor: float, dense: float, least: float
) -> list[str]:
    lines = [
        _text(LEFT, 36, f"{frontier['search']}: {count} candidates on the frontier", "ink title", "start"),
        _text(
            LEFT, 58, "accuracy on validation with 95% intervals, against parameter memory", anchor="start"
        ),
    ]
    for step in range(round(10 * floor), 11):
        height = y(step / 10)
        lines += [
            _line(LEFT, height, WIDTH - RIGHT, height, "grid"),
            _text(LEFT - 10, height + 4, f"{10 * step}%", anchor="end"),
        ]
    for decade in range(8):
        for digit in (1, 2, 5):
            value = digit * 10**decade
            if least / 1.25 <= value <= 1.25 * dense:
                across = x(value)
                lines += [
                    _line(across, TOP, across, HEIGHT - BOTTOM, "grid"),
                    _text(across, HEIGHT - BOTTOM + 20, _size(value)),
                ]
    lines.append(
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, "memory of the packed parameters (log scale)")
    )
    return lines


def _legend(low: float, high: float) -> list[str]:
    left, top, width = WIDTH - RIGHT - 190, 28, 190
    stops = "".join(f'<stop offset="{s / 4:.2f}" stop-color="{ramp(s / 4)}"/>' for s in range(5))
    return [
        f'<defs><linearGradient id="macs">{stops}</linearGradient></defs>',
        f'<rect x="{left}" y="{top}" width="{width}" height="9" rx="4" fill="url(#macs)"/>',
        _text(left, top + 28, _count(low), anchor="start"),
        _text(left + width / 2, top + 28, "MACs"),
        _text(left + width, top + 28, _count(high), anchor="end"),
    ]


def _steps(candidates: Sequence[Mapping[str, Any]], x: Axis, y: Axis) -> list[str]:
    """Draw the best accuracy within each memory limit."""
    path, best = "", -math.inf
    for candidate in candidates:
        if candidate["accuracy"] > best:
            best = candidate["accuracy"]
            across = f"{x(candidate['memory_bytes']):.1f}"
            path += f"H{across}V{y(best):.1f}" if path else f"M{across} {y(best):.1f}"
    return [f'<path class="step" stroke-width="1.5" d="{path}H{WIDTH - RIGHT}"/>']


def _point(candidate: Mapping[str, Any], x: Axis, y: Axis, fill: str) -> list[str]:
    across, height = x(candidate["memory_bytes"]), y(candidate["accuracy"])
    hover = (
        f"candidate {candidate['id']}: accuracy {candidate['accuracy']:.4f}, "
        f"{_size(candidate['memory_bytes'])}, {_count(candidate['macs'])} MACs"
    )
    return [
        _line(across, y(candidate["accuracy_low"]), across, y(candidate["accuracy_high"]), "whisker"),
        f'<circle class="point" cx="{across:.1f}" cy="{height:.1f}" r="5.5" fill="{fill}">'
        f"<title>{escape(hover)}</title></circle>",
    ]


def _dense(dense: Mapping[str, Any], x: Axis, y: Axis) -> list[str]:
    across, height = x(dense["memory_bytes"]), y(dense["accuracy"])
    corners = []
    for corner in range(10):
        radius, angle = (10.0 if corner % 2 == 0 else 4.2), math.pi * corner / 5
        corners.append(f"{across + radius * math.sin(angle):.1f},{height - radius * math.cos(angle):.1f}")
    return [
        f'<polygon class="dense" points="{" ".join(corners)}"/>',
        _text(across, height + 27, "dense", "ink bold"),
        _text(across, height + 44, f"{dense['accuracy']:.1%}, {_size(dense['memory_bytes'])}"),
    ]


def _named(candidate: Mapping[str, Any], dense: Mapping[str, Any], x: Axis, y: Axis) -> list[str]:
    across, height = x(candidate["memory_bytes"]), y(candidate["accuracy"])
    down = height + 120
    smaller = dense["memory_bytes"] / candidate["memory_bytes"]
    fewer = dense["macs"] / candidate["macs"]
    test = tested(candidate)
    accuracy = f"{candidate['accuracy']:.1%}" + ("" if test is None else f" ({test:.1%} on test)")
    return [
        _line(across, height + 8, across + 30, down - 16, "leader"),
        _text(across + 20, down, f"candidate {candidate['id']}: {smaller:.1f}x smaller", "ink bold", "start"),
        _text(
            across + 20,
            down + 18,
            f"{accuracy}, {_size(candidate['memory_bytes'])}, {fewer:.1f}x fewer MACs",
            anchor="start",
        ),
    ]


def _size(value: float) -> str:
    return _scaled(value, ("B", "KB", "MB", "GB"))


def _count(value: float) -> str:
    return _scaled(value, ("", "K", "M", "G")).strip()


def _scaled(value: float, units: Sequence[str]) -> str:
    step = 0
    while value >= 1000 and step < len(units) - 1:
        value, step = value / 1000, step + 1
    return f"{value:.3g} {units[step]}"


if __name__ == "__main__":
    sys.stdout.write(picture(json.load(sys.stdin)))
