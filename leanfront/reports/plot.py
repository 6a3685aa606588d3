"""The frontier as a self-contained interactive HTML file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from leanfront.core.audit.drawing import BLUE, GREEN, GREY, VERMILION
from leanfront.core.compressors import Configuration
from leanfront.core.objectives import METRICS, Objective, resolve
from leanfront.core.search import Candidate, SearchRecord
from leanfront.errors import UsageError
from leanfront.files import require_html, whole
from leanfront.reports.text import number

FRONTIER, DOMINATED, DENSE, BOUND = BLUE, GREY, VERMILION, GREEN
IN_BYTES = ("memory_bytes", "file_bytes")


def frontier_figure(
    record: SearchRecord, candidates: Sequence[Candidate], bounds: Mapping[int, float] | None = None
) -> Any:
    """Return a plotly figure of the first metric objective against each cost objective.

    Frontier members are solid with their intervals, dominated candidates are faint, the dense model is a star.
    Hovering shows all objectives and the configuration.

    Args:
        record: the search.
        candidates: all complete candidates, including dominated ones.
        bounds: candidate id -> lower bound in bytes of any order-0 code of its weights, from an audit of kind
            ``bounds``; drawn beside its memory.

    Raises:
        UsageError: the search has no metric among its objectives.
    """
    objectives = resolve(record.objectives)
    quality = next((o for o in objectives if not o.is_cost), None)
    if quality is None:
        raise UsageError(f"search '{record.name}' has no metric to draw: its objectives are all costs")
    costs = [o for o in objectives if o is not quality]
    figure = make_subplots(
        rows=1, cols=len(costs), shared_yaxes=True, horizontal_spacing=0.04,
        subplot_titles=[f"{quality.name} against {o.name}" for o in costs],
    )  # fmt: skip
    front = [c for c in candidates if c.on_frontier]
    rest = [c for c in candidates if not c.on_frontier]
    for column, cost in enumerate(costs, start=1):
        first = column == 1
        figure.add_trace(_points(rest, cost, quality, objectives, "dominated", DOMINATED, first), 1, column)
        figure.add_trace(_points(front, cost, quality, objectives, "frontier", FRONTIER, first), 1, column)
        figure.add_trace(_dense(record, cost, quality, first), 1, column)
        if bounds and cost.measurement in IN_BYTES:
            figure.add_trace(_bound(front, bounds, quality), 1, column)
        unit = f" ({cost.unit})" if cost.unit != "1" else ""
        figure.update_xaxes(
            title_text=cost.name + unit, type="log" if cost.is_cost else "linear", row=1, col=column,
            exponentformat="SI", minor={"showgrid": True, "gridcolor": "#f2f4f7"},
        )  # fmt: skip
    figure.update_yaxes(title_text=f"{quality.name} on validation", row=1, col=1)
    figure.update_layout(
        template="plotly_white",
        title=f"{html.escape(record.name)}: {len(front)} on the frontier of {len(candidates)} candidates",
        legend={"orientation": "h", "y": -0.18},
        hoverlabel={"align": "left", "font": {"family": "monospace", "size": 11}},
        margin={"t": 90, "b": 90},
    )
    return figure


def write_plot(
    record: SearchRecord,
    candidates: Sequence[Candidate],
    path: Path,
    bounds: Mapping[int, float] | None = None,
) -> None:
    """Write the figure as a self-contained HTML file, atomically.

    Raises:
        UsageError: the path is no .html file in an existing folder.
        StorageError: the file cannot be written.
    """
    place = require_html(path, "plot")
    text = frontier_figure(record, candidates, bounds).to_html(
        # Plotly's default button would send the data to its makers.
        config={"displaylogo": False, "showSendToCloud": False},
        include_plotlyjs=True,
        full_html=True,
    )
    with whole(place) as file:
        file.write(text.encode())


def _points(
    candidates: Sequence[Candidate],
    cost: Objective,
    quality: Objective,
    objectives: Sequence[Objective],
    name: str,
    colour: str,
    legend: bool,
) -> Any:
    ordered = sorted(candidates, key=lambda c: c.value(cost.measurement) or 0.0)
    measured = [c.measurement(quality.measurement, "validation") for c in ordered]
    faint = name == "dominated"
    bars = None
    if not faint:
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [0 if m is None or m.high is None else m.high - m.value for m in measured],
            "arrayminus": [0 if m is None or m.low is None else m.value - m.low for m in measured],
            "thickness": 1,
            "width": 2,
        }
    # WebGL keeps many faint points smooth; it draws no error bars of its own.
    kind = go.Scattergl if faint else go.Scatter
    return kind(
        x=[c.value(cost.measurement) for c in ordered],
        y=[None if m is None else m.value for m in measured],
        error_y=bars,
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=legend,
        marker={"color": colour, "size": 5 if faint else 8, "opacity": 0.35 if faint else 1.0},
        text=[_hover(c, objectives) for c in ordered],
        customdata=[c.id for c in ordered],
        hovertemplate="%{text}<extra></extra>",
    )


def _bound(candidates: Sequence[Candidate], bounds: Mapping[int, float], quality: Objective) -> Any:
    known = [c for c in candidates if c.id in bounds]
    return go.Scatter(
        x=[bounds[c.id] for c in known if c.id is not None],
        y=[c.value(quality.measurement) for c in known],
        mode="markers",
        name="entropy-coded bound",
        marker={"color": BOUND, "size": 9, "symbol": "diamond-open"},
        text=[f"candidate {c.id}: no order-0 code is below" for c in known],
        hovertemplate="%{text} %{x:.4s}B<extra></extra>",
    )


def _dense(record: SearchRecord, cost: Objective, quality: Objective, legend: bool) -> Any:
    values = {(m.name, m.split): m for m in record.dense}
    x = values.get((cost.measurement, "" if cost.measurement not in METRICS else "validation"))
    y = values.get((quality.measurement, "validation"))
    return go.Scatter(
        x=[None if x is None else x.value],
        y=[None if y is None else y.value],
        mode="markers",
        name="dense",
        legendgroup="dense",
        showlegend=legend,
        marker={"color": DENSE, "size": 13, "symbol": "star"},
        hovertemplate=f"dense model<br>{number(y)}, {number(x)}<extra></extra>",
    )


def _hover(candidate: Candidate, objectives: Sequence[Objective]) -> str:
    lines = [f"candidate {candidate.id}"]
    for objective in objectives:
        for split in ("", "validation", "test"):
            measurement = candidate.measurement(objective.measurement, split)
            if measurement is not None:
                interval = ""
                if measurement.low is not None and measurement.high is not None:
                    interval = f" [{measurement.low:.4f}, {measurement.high:.4f}]"
                where = f" ({split})" if split else ""
                lines.append(f"{objective.name}{where}: {number(measurement)}{interval}")
    # Module names come from users' models: they are text, never markup.
    return "<br>".join([*(html.escape(line) for line in lines), *_choices(candidate.configuration)])


def _choices(configuration: Configuration, most: int = 24) -> list[str]:
    rows = [f"{layer}: {bits} bits" for layer, bits in configuration.weight_bits.items()]
    rows = [f"{group}: keeps {kept}" for group, kept in configuration.channels.items()] + rows
    rows += [f"{layer}: sparsity {value}" for layer, value in configuration.sparsity.items()]
    shown = [html.escape(row) for row in rows[:most]]
    return [*shown, f"... and {len(rows) - most} more"] if len(rows) > most else shown
