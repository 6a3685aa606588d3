"""Figure of similar corruptions."""

from __future__ import annotations

from leanfront.core.audit.document import Document
from leanfront.core.audit.drawing import heat
from leanfront.core.audit.pieces import Drawing, Gallery, Piece


def alike(found: Document, title: str) -> Piece:
    """Draw the redundancy of corruptions (`leanfront.core.audit.redundancy`), a matrix in the order of its leaves."""
    if "order" not in found:
        return Gallery(title, note=f"Not known: {found['reason']}.")
    matrix, places = found[found["method"]], [found["corruptions"].index(name) for name in found["order"]]
    ordered = [[matrix[row][column] for column in places] for row in places]
    drawn = heat(found["order"], found["order"], ordered, unit=found["method"], around=0.0, ends=(-1.0, 1.0))
    drawn.update_xaxes(tickangle=-40)
    groups = [", ".join(each["members"]) for each in found["clusters"] if len(each["members"]) > 1]
    told = f"Correlation over {found['candidates']} versions. Groups that correlate by {found['cut']:g} or more: "
    return Drawing(title, drawn, told + ("; ".join(groups) or "none") + ".")
